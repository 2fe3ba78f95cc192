"""One real head, the way a user takes it: every program in turn. Skipped where it is absent."""

import json

import nibabel as nib
import numpy as np
import pytest

from . import tiny
from .programs import call


@pytest.mark.slow
def test_even_slices_train_and_odd_ones_are_scored(head_pair, tmp_path):
    mr, ct = head_pair / "mr_T2.nii.gz", head_pair / "ct_in_T2.nii.gz"
    done = call(
        "prepare", "--source=pairs", f"--input={head_pair}", "--mr=mr_T2*", "--ct=ct_in_T2*",
        f"--output={tmp_path / 'data'}", "--spacing=6", "--size=32", "--test=", "--validation=",
    )  # fmt: skip
    assert done.status == 0, done.err

    config = tiny.experiment("cnn", steps=120, log_every=1, ema=0.9)
    config.network.channels = 16
    recipe = tiny.write_recipe(config, tmp_path / "recipe.py")
    workdir = tmp_path / "run"
    arguments = [f"--config={recipe}", f"--data={tmp_path / 'data'}", f"--workdir={workdir}"]
    done = call("train", *arguments, "--config.data.z_slices=0::2")
    assert done.status == 0, done.err
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    loss = [line["loss"] for line in lines if line["group"] == "train"]
    assert len(loss) == 120 and np.mean(loss[-20:]) < 0.2 * np.mean(loss[:3])

    done = call("synthesize", f"--workdir={workdir}", f"--mr={mr}", f"--output={tmp_path}")
    assert done.status == 0, done.err
    written, given = nib.load(tmp_path / "sct" / "mr_T2.nii.gz"), nib.load(mr)
    assert written.shape == given.shape and written.get_data_dtype() == np.int16
    np.testing.assert_allclose(written.affine, given.affine, atol=1e-4)
    hu = np.asarray(written.dataobj)
    assert -1000 <= hu.min() < -800 and 300 < hu.max() <= 2000  # air, and bone

    done = call(
        "evaluate", f"--prediction={tmp_path / 'sct'}", f"--reference={ct}", "--z_slices=1::2",
        f"--output={tmp_path / 'scores'}",
    )  # fmt: skip
    assert done.status == 0, done.err
    (case,) = json.loads((tmp_path / "scores" / "metrics.json").read_text())["cases"]
    # 210 HU is what one constant in the body costs on these slices: the MR must have told more.
    assert case["mae"] < 210
    print(f"MAE on odd slices {case['mae']:.0f} HU")
