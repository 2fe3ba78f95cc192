"""Cohorts of phantoms, prepared for training."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from sde_ct.data.preparation.prepare import prepare
from sde_ct.data.prepared import INDEX, Prepared, read_prepared
from sde_ct.errors import InputError
from sde_ct.lab.phantom.cohort import phantom_cases

DEMO: dict[str, Any] = {"shape": (64, 48, 6), "spacing": (6.25, 6.25, 13.0)}  # voxels and mm


def prepared_cohort(output: Path, counts: Mapping[str, int], seed: int = 0, **options) -> Prepared:
    """Phantoms in `output/cohort`, prepared in `output/data`; what exists already is kept.

    Args:
      counts: the number of patients in each part of the split, in the order of their names.
      seed: seed of the phantoms.
      options: further arguments of `phantom_cases`.

    Raises:
      InputError: `output` holds another cohort.
    """
    folder, wanted = Path(output) / "data", sum(counts.values())
    prepared = read_prepared(folder) if (folder / INDEX).exists() else None
    if prepared is not None and (count := len(prepared.cases)) != wanted:
        raise InputError(
            f"{output} holds {count} patients, not {wanted}: ask for {count} patients, or give "
            "another --output."
        )
    cases = phantom_cases(Path(output) / "cohort", wanted, seed, **options)
    if prepared is not None:
        return prepared
    names = iter([case.id for case in cases])
    split = {part: tuple(islice(names, count)) for part, count in counts.items()}
    return prepare(cases, folder, source="phantom", split=split)
