"""A phantom cohort as a source of patients."""

import os
from pathlib import Path

from sde_ct.data.sources.cohorts import KINDS, Case
from sde_ct.lab.phantom.pelvis import write_cohort


def phantom_cases(folder: str | os.PathLike, patients: int, seed: int, **options) -> list[Case]:
    """Patients 1 to `patients` of a phantom cohort; those that are absent are generated.

    Args:
      folder: the cohort's; patients of the same request that are there already stay as they are.
      options: of `write_cohort`: shape, spacing, prior, progress.

    Raises:
      InputError: the folder holds something else, or the request is out of range.
    """
    written = write_cohort(Path(folder).absolute(), patients, seed, **options)
    return [Case(p.name, *(p / f"{kind}.nii.gz" for kind in KINDS)) for p in written]
