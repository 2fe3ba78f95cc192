"""What a held-out patient keeps of its phantom."""

import json
import shutil

import nibabel as nib
import numpy as np

from sde_ct.data.preparation.prepare import prepare
from sde_ct.lab.comparison import held_out, training_outcomes
from sde_ct.lab.phantom.cohort import phantom_cases

from ... import tiny

RAS = nib.orientations.axcodes2ornt("RAS")


def test_a_prior_that_the_mr_shows_belongs_to_the_patient(phantoms, tmp_path):
    cases = phantom_cases(tmp_path / "cohort", 3, 0, visible_priors=(0.2, 0.8), **tiny.PHANTOM)
    names = [case.id for case in cases]
    split = {"train": names[:1], "validation": (), "test": names[1:]}
    data = prepare(cases, tmp_path / "data", source="phantom", split=split)
    assert [patient.prior for patient in held_out(data)] == [0.8, 0.2]
    record = json.loads(cases[0].mr.with_name("phantom.json").read_text())
    assert {prior: outcomes.tolist() for prior, outcomes in training_outcomes(data).items()} == {
        0.2: [record["bone_like"]]
    }
    assert training_outcomes(phantoms) == {}
    assert [patient.prior for patient in held_out(phantoms)] == [None]  # 0.5, and no MR shows it


def test_axial_slices_come_last_however_the_files_are_stored(tmp_path):
    """Files with axes to posterior, superior and the right: the same patients, turned."""
    phantom_cases(tmp_path / "upright", 3, 0, **tiny.PHANTOM)
    shutil.copytree(tmp_path / "upright", tmp_path / "turned")
    for path in (tmp_path / "turned").rglob("*.nii.gz"):
        image = nib.load(path)
        way = nib.orientations.axcodes2ornt("PSR")
        nib.save(image.as_reoriented(nib.orientations.ornt_transform(RAS, way)), path)
    by_orientation = []
    for name in ("upright", "turned"):
        cases = phantom_cases(tmp_path / name, 3, 0, **tiny.PHANTOM)
        names = [case.id for case in cases]
        split = {"train": names[:1], "validation": (), "test": names[1:]}
        by_orientation.append(
            held_out(prepare(cases, tmp_path / f"{name}-data", source="x", split=split))
        )
    for one, other in zip(*by_orientation, strict=True):
        for kind in ("mr", "ct", "mask", "ambiguous"):
            a, b = getattr(one, kind), getattr(other, kind)
            np.testing.assert_array_equal(a.array, b.array)
            np.testing.assert_allclose(a.affine, b.affine, atol=1e-4)
