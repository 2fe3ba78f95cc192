"""A verdict that a later call concludes: from sound files, and with every warning shown."""

import json
import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest

from sde_ct.acceptance.verdict import judge
from sde_ct.volumes.files import read_volume, write_volume

from ..programs import call
from ..volumes.dicom_series import write_series
from .test_accept import fitted, usual

__all__ = ["fitted", "usual"]  # fixtures


@pytest.fixture
def by_range(monkeypatch):
    """Only the path lengths are a reason: a tiny network's CT may have others."""

    def judged(reference, features, facts, widths, limit):
        return judge(reference, {}, (), widths, limit)

    monkeypatch.setattr("sde_ct.synthesis.judging.judge", judged)


@pytest.fixture
def place(fitted, usual, tmp_path):
    """The name of a volume, an output, the flags of its synthesis, and those of its rays."""
    (workdir, _), (name, mr) = fitted, usual
    volume = read_volume(mr[0].removeprefix("--mr="), "a.u.")
    target = np.zeros(volume.array.shape, np.uint8)
    target[tuple(slice(n // 2, n // 2 + 2) for n in target.shape)] = 1
    write_volume(tmp_path / "target.nii.gz", volume.with_array(target, "mask"))
    out = tmp_path / "out"
    flags = [f"--workdir={workdir}", *mr, f"--output={out}", "--draws=3"]
    return name, out, flags, ["--rays=0,90", f"--target={tmp_path / 'target.nii.gz'}"]


def verdicts(out, name, kind="sct"):
    """The verdict in the sidecar, and the two descriptions of a CT series."""
    record = json.loads((out / f"{name}.json").read_text())["acceptance"]
    ct = pydicom.dcmread(out / "dicom" / name / kind / "0001.dcm")
    return record["verdict"], ct.SeriesDescription.split(", ")[-1], ct.DerivationDescription


def judge_again(flags, out, *more):
    return call("accept", flags[0], f"--sct={out}", *more)


def uids(folder):
    """The UIDs of a series and of its images."""
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in folder.iterdir()]
    return {uid for image in images for uid in (image.SeriesInstanceUID, image.SOPInstanceUID)}


def test_a_series_with_an_older_verdict_is_named_and_made_again(place, by_range):
    name, out, flags, rays = place
    done = call("synthesize", *flags, "--accept", "--dicom")
    assert done.status == 0 and "warning" not in done.err, done.err
    assert verdicts(out, name)[:2] == ("PASS", "PASS")
    again = [*flags, "--accept", "--dicom_axial", *rays, "--range_limit=0.001"]
    done = call("synthesize", *again)
    stale = (
        f"warning: {name}: {out / 'dicom' / name / 'sct'} carries the verdict PASS of an earlier "
        "call, not REVIEW: remove this folder and give the command of the synthesis again, with "
        "--accept and --range_limit=0.001.\n"
    )
    assert done.status == 3 and done.err.count(stale) == 1
    assert verdicts(out, name, "sct_axial")[:2] == ("REVIEW", "REVIEW: range")
    sidecar = json.loads((out / f"{name}.json").read_text())
    series = {f"dicom/{name}/sct": "PASS", f"dicom/{name}/sct_axial": "REVIEW"}
    assert sidecar["series_verdicts"] == series
    # Every call says so, with and without --accept, until the series is made again.
    for words in (again, [*flags, "--dicom_axial"]):
        done = call("synthesize", *words)
        assert "nothing to do" in done.out and stale in done.err
    assert stale in judge_again(flags, out).err
    first = uids(out / "dicom" / name / "sct")
    shutil.rmtree(out / "dicom" / name / "sct")
    done = call("synthesize", *again)
    assert done.status == 3 and "carries" not in done.err
    assert not first & uids(out / "dicom" / name / "sct")  # archives keep the first of two alike
    assert verdicts(out, name)[:2] == ("REVIEW", "REVIEW: range")
    assert "path lengths that are too uncertain" in verdicts(out, name)[2]
    # Another limit gives another verdict.
    done = judge_again(flags, out, "--range_limit=1000")
    assert done.status == 0
    for kind in ("sct", "sct_axial"):
        assert f"{kind} carries the verdict REVIEW of an earlier call, not PASS" in done.err
    assert "with --accept and --range_limit=1000.0." in done.err


@pytest.mark.parametrize("recorded", [True, False])
def test_a_series_without_a_verdict_is_named_and_made_again(place, by_range, recorded):
    """The sidecars of earlier versions do not record what the series carry."""
    name, out, flags, _ = place
    call("synthesize", *flags, "--dicom")
    forget = lambda: None  # noqa: E731
    if not recorded:
        path = out / f"{name}.json"

        def forget():
            sidecar = json.loads(path.read_text())
            del sidecar["series_verdicts"]
            path.write_text(json.dumps(sidecar))

    forget()
    for program in (lambda: call("synthesize", *flags, "--dicom", "--accept"),
                    lambda: judge_again(flags, out)):  # fmt: skip
        done = program()
        assert done.status == 0
        assert "sct carries no verdict instead of PASS: remove this folder and give" in done.err
    shutil.rmtree(out / "dicom" / name / "sct")
    assert "carries" not in call("synthesize", *flags, "--dicom", "--accept").err
    forget()
    assert verdicts(out, name)[:2] == ("PASS", "PASS")
    assert "carries" not in judge_again(flags, out).err
    # A series that is added without --accept has none either.
    done = call("synthesize", *flags, "--dicom_axial")
    assert done.status == 0 and "sct_axial carries no verdict instead of PASS" in done.err


def test_figures_by_this_reference_are_kept_though_the_mr_is_given(fitted, usual, tmp_path):
    """The draw that is unlike the others and the reasons of the --study are not in the files."""
    (workdir, _), (name, mr) = fitted, usual
    volume = read_volume(mr[0].removeprefix("--mr="), "a.u.")
    study = write_series(
        tmp_path / "study", volume.array.astype(np.int16), spacing=tuple(volume.spacing)
    )
    write_volume(tmp_path / f"{name}.nii.gz", read_volume(study, "a.u."))
    out = tmp_path / "out"
    ask = [f"--workdir={workdir}", f"--mr={tmp_path / f'{name}.nii.gz'}", f"--output={out}"]
    ask += ["--sampler=em", "--draws=3", "--accept"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sde_ct.synthesis.job.header_warnings", lambda *_: ("Another maker.",))
        assert call("synthesize", *ask, "--dicom", f"--study={study}").status == 3
    sidecar = json.loads((out / f"{name}.json").read_text())
    before = sidecar["acceptance"]
    assert ["header", "Another maker."] in before["facts"]
    assert "outlying_draw" in before["features"] and "Another maker." in sidecar["warnings"]
    assert judge_again(ask, out, ask[1]).status == 3
    assert json.loads((out / f"{name}.json").read_text())["acceptance"] == before
    # Nor does a later output without the --study lose the reason or the warning.
    done = call("synthesize", *ask, "--save_draws")
    assert done.status == 3 and f"warning: {name}: Another maker." in done.err
    assert json.loads((out / f"{name}.json").read_text())["acceptance"] == before
    # By another reference, the volume is measured anew, but its header was read before.
    refitted = tmp_path / "run"
    shutil.copytree(workdir, refitted)
    (refitted / "acceptance.json").write_text((workdir / "acceptance.json").read_text() + "\n")
    done = call("accept", f"--workdir={refitted}", f"--sct={out}", ask[1])
    assert done.status == 3, done.err
    after = json.loads((out / f"{name}.json").read_text())["acceptance"]
    assert after["reference"] != before["reference"] and "outlying_draw" not in after["features"]
    assert ["header", "Another maker."] in after["facts"]


def test_an_mr_on_another_grid_is_refused(fitted, runs, usual, tmp_path):
    (workdir, _), (name, mr) = fitted, usual
    out = tmp_path / "out"
    early = [f"--workdir={runs('diffusion')}", *mr, f"--output={out}", "--draws=3"]
    assert call("synthesize", *early).status == 0
    image = nib.load(mr[0].removeprefix("--mr="))
    affine = image.affine.copy()
    affine[0, 3] += 7
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), tmp_path / "moved.nii.gz")
    judge = ["accept", f"--workdir={workdir}", f"--sct={out}"]
    done = call(*judge, f"--mr={tmp_path / 'moved.nii.gz'}")
    assert done.status == 2
    assert f"moved.nii.gz has the voxels of the MR of {name}, but its affine moves them" in done.err
    assert "by 7 mm: give the MR of the synthesis." in done.err
    assert "acceptance" not in json.loads((out / f"{name}.json").read_text())
    # Nor is a changed CT measured.
    ct, other = (out / kind / f"{name}.nii.gz" for kind in ("sct", "sct_std"))
    before = ct.read_bytes()
    ct.write_bytes(other.read_bytes())
    assert f"{name}.nii.gz has changed since it was written" in call(*judge, mr[0]).error
    assert "acceptance" not in json.loads((out / f"{name}.json").read_text())
    ct.write_bytes(before)
    # A sidecar without the affine is matched by its voxels.
    sidecar = json.loads((out / f"{name}.json").read_text())
    del sidecar["input"]["affine"]
    (out / f"{name}.json").write_text(json.dumps(sidecar))
    assert call(*judge, f"--mr={tmp_path / 'moved.nii.gz'}").status in (0, 3)


def test_every_file_behind_a_verdict_is_the_one_that_was_written(place, by_range):
    name, out, flags, rays = place
    assert call("synthesize", *flags, "--accept", *rays, "--range_limit=1000").status == 0
    for output in (f"sct/{name}.nii.gz", f"sct_std/{name}.nii.gz", f"rays/{name}.json"):
        content = (out / output).read_bytes()
        for damage, words in (
            (lambda path: path.write_bytes(b"{}"), "has changed since it was written: move it"),
            (lambda path: path.unlink(), "is missing: synthesize it again."),
        ):
            damage(out / output)
            before = (out / f"{name}.json").read_text()
            assert f"{output} {words}" in judge_again(flags, out).error
            if output.startswith("rays"):  # which this synthesis does not ask for
                for more in ([], ["--dicom"]):
                    done = call("synthesize", *flags, "--accept", *more)
                    assert f"{output} {words}" in done.error
            assert (out / f"{name}.json").read_text() == before
            (out / output).write_bytes(content)
    assert judge_again(flags, out).status == 0


def test_one_unusable_volume_does_not_stop_the_others(place, usual, tmp_path):
    (_, out, flags, _), others = place, ("anna", "bert", "carl")
    for other in others:
        shutil.copy(usual[1][0].removeprefix("--mr="), tmp_path / f"{other}.nii.gz")
    mrs = [f"--mr={tmp_path / f'{other}.nii.gz'}" for other in others]
    usual_flags = [flag for flag in flags if not flag.startswith("--mr=")]
    assert call("synthesize", *usual_flags, *mrs).status == 0
    (out / "sct" / "anna.nii.gz").write_bytes(b"another CT")
    (out / "bert.json").write_text("{")
    done = judge_again(flags, out, f"--mr={tmp_path / 'target.nii.gz'}")
    assert done.status == 2
    assert "refused: " in done.err and "anna.nii.gz has changed" in done.err
    assert "bert.json is damaged" in done.err and "target.nii.gz" in done.err
    assert "3 of 4 inputs were refused (" in done.error
    assert done.out.startswith("carl:\n") and "anna:" not in done.out
    assert "verdict" in json.loads((out / "carl.json").read_text())["acceptance"]


def test_the_sidecars_warnings_are_shown_with_every_verdict(fitted, phantoms, tmp_path):
    """The CT of this patient shows tissue in the air around the body."""
    (workdir, _), (case,), out = fitted, phantoms.of("validation"), tmp_path
    name, flags = case.id, [f"--workdir={workdir}", f"--mr={case.folder / 'mr.nii.gz'}"]
    flags += ["--sampler=em", "--draws=3", f"--output={out}"]
    for words in ([], ["--accept"], ["--accept"]):
        done = call("synthesize", *flags, *words)
        warnings = json.loads((out / f"{name}.json").read_text())["warnings"]
        assert any("do not use this CT" in one for one in warnings)
        assert done.err.count("warning: ") == len(warnings)
        assert all(f"warning: {name}: {one}" in done.err for one in warnings)
    assert "nothing to do" in done.out
    done = judge_again(flags, out)
    assert all(f"warning: {name}: {one}" in done.err for one in warnings)
