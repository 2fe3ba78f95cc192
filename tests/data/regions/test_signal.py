"""Slices without signal are found, named, and filled with air instead of an invented patient."""

import json
from pathlib import Path

import numpy as np
from scipy import ndimage

from sde_ct.data.preparation.aligned import aligned
from sde_ct.data.regions.signal import empty_slices, warnings, with_signal
from sde_ct.data.sources.patient import Patient
from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.volumes.files import read_volume, write_volume
from sde_ct.volumes.volume import Volume

from ...programs import call


def test_slices_are_counted_from_feet_to_head_whatever_the_order_of_axes():
    array = np.random.default_rng(0).uniform(1, 2, (4, 5, 6))
    array[..., [0, 2]] = 0.0
    upside_down = Volume(array, np.diag([2.0, 2.0, -3.0, 1.0]), "a.u.")
    empty = empty_slices(upside_down)
    np.testing.assert_array_equal(np.flatnonzero(empty), [3, 5])
    np.testing.assert_array_equal(with_signal(upside_down).any(axis=(0, 1)), array.any((0, 1)))
    assert warnings(empty, "why.") == ["2 of 6 slices of the MR hold no signal: why."]
    assert warnings(np.zeros(6, bool), "why.") == []


def test_synthesis_fills_them_with_air_and_says_so(runs, phantoms, tmp_path):
    (case,) = phantoms.of("test")
    mr = read_volume(case.folder / "mr.nii.gz", "a.u.")
    padded = np.pad(mr.array, ((0, 0), (0, 0), (2, 1)))
    write_volume(tmp_path / "mr.nii.gz", mr.with_array(padded))
    done = call(
        *("synthesize", f"--workdir={runs('cnn')}", f"--mr={tmp_path / 'mr.nii.gz'}"),
        f"--output={tmp_path / 'out'}",
    )
    assert done.status == 0, done.err
    depth = padded.shape[2]
    sentence = f"3 of {depth} slices of the MR hold no signal: the CT is set to air there."
    (sidecar,), (made,) = (tmp_path / "out").glob("*.json"), (tmp_path / "out" / "sct").iterdir()
    assert sentence in json.loads(sidecar.read_text())["warnings"]
    ct = read_volume(made, "HU").array
    assert (ct[..., [0, 1, -1]] == ct.min()).all() and ct.min() <= -1000
    assert (ct[..., 2:-1].max(axis=(0, 1)) > -500).all()


def test_the_body_of_the_ct_teaches_nothing_there():
    one = pelvis_patient(0, shape=(24, 20, 6), spacing=(16.0, 16.0, 12.0))
    lost = one.mr.array.copy()
    lost[..., 2] = 0.0
    for mask in (one.mask, None):
        files = dict.fromkeys(("mr", "ct", "mask"), Path("x"))
        found = aligned(Patient(one.mr.with_array(lost), one.ct, mask, files), None)
        # The CT's own outline of the body may differ from the phantom's by a pixel at the skin.
        inside = ndimage.binary_erosion(one.mask.array[..., 2] > 0)
        assert inside.any() and not found.valid.array[..., 2][inside].any()
        assert found.valid.array[..., 3].all()
        assert any("1 of 6 slices of the MR" in one for one in found.patient.warnings)
