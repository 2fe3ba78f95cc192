"""Gold Atlas's importer, held to a cohort of phantoms written as such data come."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from sde_ct.data.preparation.prepare import prepare
from sde_ct.data.sources.body_contour import BODY
from sde_ct.data.sources.cohorts import Patterns, find_cases
from sde_ct.data.sources.gold_atlas import AtlasCase, literature_split
from sde_ct.errors import InputError
from sde_ct.lab.phantom.gold_atlas import PATIENTS, write_gold_atlas
from sde_ct.volumes.lps import swap_lps_ras

from ...programs import call
from ...volumes.dicom_series import edit

GRID = {"shape": (64, 64, 8), "spacing": (6.9, 6.9, 7.0)}
NAMES = ("1_03_P", "2_04_P", "3_01_P")  # one a site


@pytest.fixture(scope="module")
def atlas(tmp_path_factory) -> Path:
    """Three patients; nobody writes to them."""
    root = tmp_path_factory.mktemp("atlas")
    write_gold_atlas(root, 0, patients=NAMES, **GRID)
    return root


@pytest.fixture(scope="module")
def prepared(atlas, tmp_path_factory):
    """The cohort prepared, and its report."""
    output = tmp_path_factory.mktemp("prepared") / "data"
    cases = find_cases("gold_atlas", atlas, Patterns(), t1=True)
    split = {"train": NAMES[:2], "test": NAMES[2:]}
    data = prepare(cases, output, source="gold_atlas", split=split, size=(64, 64))
    return data, json.loads((output / "report.json").read_text())


@pytest.fixture
def patient(atlas, tmp_path):
    """A copy of one patient, to be spoilt."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(atlas / name, tmp_path / name))

    return copy


def headers(folder: Path, modality: str, description: str) -> dict[Path, pydicom.Dataset]:
    """The files of one series."""
    found = {f: pydicom.dcmread(f) for f in folder.glob(f"{modality}*.dcm")}
    return {f: h for f, h in found.items() if h.SeriesDescription == description}


DESCRIPTIONS = {  # T2, deformed CT
    "1_03_P": ("t2_tse_tra", "CTtoMR DIR"),
    "2_04_P": ("T2 prop", "CTtoMR DIR"),
    "3_01_P": ("ax", "deformed"),
}
SLICES = {"1_03_P": 8, "2_04_P": 8, "3_01_P": 7}  # the CT of site 3 has one slice less


def by_itk(folder: Path, modality: str, description: str):
    """A series through GDCM: voxels [x, y, z] and affine to RAS mm."""
    files = headers(folder, modality, description)
    uid = next(iter(files.values())).SeriesInstanceUID
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), uid))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, swap_lps_ras(affine)


@pytest.mark.parametrize("name", NAMES)
def test_voxels_and_their_place_are_those_another_reader_finds(atlas, prepared, name):
    """Corner voxels within 0.01 mm of where GDCM puts them; every value the same."""
    data, _ = prepared
    case, depth = data.cases[name], SLICES[name]
    for kind, modality, description in (
        ("mr", "MR", DESCRIPTIONS[name][0]),
        ("ct", "CT", DESCRIPTIONS[name][1]),
    ):
        volume = case.volume(kind)
        array, affine = by_itk(atlas / name, modality, description)
        assert volume.array.shape == (64, 64, 8)
        np.testing.assert_array_equal(volume.array[..., :depth], array[..., :depth])
        corners = np.array([[x, y, z, 1] for x in (0, 63) for y in (0, 63) for z in (0, depth - 1)])
        np.testing.assert_allclose(corners @ volume.affine.T, corners @ affine.T, atol=0.01)
    assert len(case) == 8 and case.load("ct").max() <= 3071
    assert case.record["unmeasured_slices"] == list(range(depth, 8))
    valid = case.load("valid").any(axis=(1, 2))
    assert valid[:depth].all() and not valid[depth:].any()


def shoelace(points: np.ndarray) -> float:
    """Area of a plane polygon in space, mm²."""
    return float(np.linalg.norm(np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)) / 2)


def test_the_mask_has_the_volume_of_the_consensus_contours(atlas, prepared):
    """Within 1 %: the rule of voxel centres has no bias, only the noise of the edge's voxels."""
    data, report = prepared
    case = data.cases["1_03_P"]
    (structures,) = headers(atlas / "1_03_P", "RTSTRUCT", "Consensus").values()
    (number,) = (r.ROINumber for r in structures.StructureSetROISequence if BODY.match(r.ROIName))
    (roi,) = (r for r in structures.ROIContourSequence if r.ReferencedROINumber == number)
    area = sum(
        shoelace(np.reshape([float(v) for v in c.ContourData], (-1, 3)))
        for c in roi.ContourSequence
    )
    mask = case.volume("mask")
    assert len(roi.ContourSequence) == mask.array.shape[2] == 8
    assert mask.array.sum() * np.prod(mask.spacing[:2]) == pytest.approx(area, rel=0.01)
    assert "consensus" in report["patients"]["1_03_P"]["chosen"]["mask"]


def test_the_report_says_what_was_found_chosen_and_left_out(prepared):
    _, report = prepared
    plain, narrow, short = (report["patients"][name] for name in NAMES)
    assert plain["warnings"] == [] and report["refused"] == {}
    assert plain["chosen"]["mr"] == "'t2_tse_tra' (MR, 8 slices): its description names T2"
    assert plain["chosen"]["ct"].startswith("'CTtoMR DIR' (CT, 8 slices): in the MR's frame of")
    assert short["chosen"]["mr"] == "'ax' (MR, 8 slices): TE 96 ms and TR 6000 ms"
    assert [s["role"] for s in plain["series"]].count("not used") == 2 == len(plain["series"]) - 2
    slices = {s["description"]: s["slices"] for s in plain["series"]}
    assert slices["t1_tse_tra"] == 7 and slices["Pelvis"] > 8  # the T1's slices are thicker
    assert plain["mr_file"].startswith("MR") and plain["ct_file"].startswith("CT")
    assert plain["other_files"] == {"REG": 1, "RTSTRUCT": 3}
    assert plain["body_overlap_dice"] > 0.97 and plain["mask"] == "contour"
    assert "1 of 9 slices of the CT lie beyond the T2" in narrow["warnings"][0]
    assert 0.02 < narrow["body_outside_field_of_view"] < 0.4 and "unused" in narrow["warnings"][1]
    assert "the CT has only 7 of the 8 slices of the T2" in short["warnings"][0]
    assert short["hu_range_in_file"][1] == 19000 and short["hu_range"][1] == 3071
    # The implant is a ball of 22 mm, of which whole voxels count.
    assert short["metal_ml"] == pytest.approx(4 / 3 * np.pi * 2.2**3, rel=0.2)


def test_what_no_scanner_measured_is_no_body(prepared):
    data, _ = prepared
    case = data.cases["2_04_P"]
    ct, mask = case.volume("ct"), case.volume("mask")
    assert ct.array.min() == -2000 and ct.array[mask.array > 0].min() > -1100
    x, y, _ = np.nonzero(mask.array)
    assert np.hypot(x - 31.5, y - 31.5).max() <= 0.36 * 64 + 1  # the disc of the CT


def test_t1_is_kept_on_the_grid_of_the_t2(prepared):
    """The T1 shows the body where the T2 does."""
    data, report = prepared
    for name, case in data.cases.items():
        t1 = case.volume("t1")
        mr, mask = case.volume("mr"), case.volume("mask")
        assert t1.array.shape == mr.array.shape
        np.testing.assert_allclose(t1.affine, mr.affine, atol=1e-4)
        inside, outside = t1.array[mask.array > 0], t1.array[mr.array == 0]
        assert np.median(inside) > 5 * np.median(outside) + 50
        assert "on the T2's grid" in report["patients"][name]["chosen"]["t1"]


def test_no_name_or_id_of_a_patient_is_written(atlas, prepared):
    data, _ = prepared
    people = set()
    for name in NAMES:
        header = pydicom.dcmread(next((atlas / name).glob("MR*.dcm")))
        people |= {str(header.PatientID), str(header.PatientName), str(header.PatientName)[-6:]}
    files = [path for path in data.folder.rglob("*") if path.is_file()]
    assert len(files) > 20 and len(people) == 9
    for path in files:
        text = path.read_bytes() + str(path.relative_to(data.folder)).encode()
        assert not any(person.encode() in text for person in people), path


NAMED = {  # how a patient is called, and the T2's description that holds a part of it
    "short": ("Li^Wu", "t2 Li"),
    "double": ("Meyer-Schmidt^Anne-Marie", "t2 Schmidt Anne"),
    "no capitals": ("山田^太郎", "t2 山田様"),
}


def call_all(folder: Path, person: str, prefix: str = "") -> None:
    """Give every file another patient's name."""
    for path in list(folder.iterdir()):
        header = pydicom.dcmread(path)
        header.SpecificCharacterSet, header.PatientName = "ISO_IR 192", person
        path.unlink()
        header.save_as(folder / f"{prefix}{path.name}")


def prepare_one(root: Path, output: Path, **options) -> dict:
    """The report on the patients below a folder."""
    cases = find_cases("gold_atlas", root, Patterns())
    split = {"train": tuple(case.id for case in cases)}
    prepare(cases, output, source="gold_atlas", split=split, **options)
    return json.loads((output / "report.json").read_text())


@pytest.mark.parametrize("name", NAMED)
def test_names_of_all_kinds_are_taken_out_of_descriptions(patient, tmp_path, name):
    person, description = NAMED[name]
    folder = patient("1_03_P")
    for path in series_of(folder, *T2):
        edit(path, SpecificCharacterSet="ISO_IR 192", SeriesDescription=description)
    call_all(folder, person)
    told = prepare_one(tmp_path, tmp_path.parent / f"{tmp_path.name}_out")
    chosen = told["patients"]["1_03_P"]["chosen"]
    assert chosen["mr"].startswith("'t2 [name]") and "(MR, 8 slices)" in chosen["mr"]
    assert "in the MR's frame of reference" in chosen["ct"]
    assert not any(part in json.dumps(told, ensure_ascii=False) for part in ("Li", "Schm", "山田"))


def test_files_that_name_the_patient_are_named_nowhere(patient, atlas, tmp_path):
    """Not in what was chosen, nor in a refusal that comes late, as that of an empty body."""
    folder = patient("1_03_P")
    call_all(folder, "Doe^Jane", "DOE_JANE_")
    output = tmp_path.parent / f"{tmp_path.name}_out"
    told = prepare_one(tmp_path, output)["patients"]["1_03_P"]
    assert "mr_file" not in told and "ct_file" not in told
    for path in folder.glob("DOE_JANE_MR*"):
        edit(path, PixelData=bytes(64 * 64 * 2))
    for path in folder.glob("*RTSTRUCT*"):
        path.unlink()
    shutil.copytree(atlas / "2_04_P", tmp_path / "2_04_P")
    refused = prepare_one(tmp_path, output.with_name("other"))["refused"]["1_03_P"]
    assert re.search(r"1_03_P/\[name\]_\[name\]_MR\d+\.dcm has an empty body mask", refused)
    for path in [*output.rglob("*.json"), *output.with_name("other").rglob("*.json")]:
        assert "jane" not in path.read_text().lower()


def series_of(folder, modality, description):
    return list(headers(folder, modality, description))


def copy_series(folder, modality, description, **tags):
    for number, path in enumerate(series_of(folder, modality, description)):
        other = Path(shutil.copy(path, folder / f"XX{number:03d}.dcm"))
        edit(other, SeriesInstanceUID="1.2.3.4", SOPInstanceUID=f"1.2.3.4.{number}", **tags)


def remove(folder, modality, description, keep=slice(0, 0)):
    files = sorted(
        headers(folder, modality, description).items(), key=lambda p: int(p[1].InstanceNumber)
    )
    kept = {path for path, _ in files[keep]}
    for path, _ in files:
        if path not in kept:
            path.unlink()


def lose(folder, modality, description, *numbers):
    for path, header in headers(folder, modality, description).items():
        if int(header.InstanceNumber) in numbers:
            path.unlink()


def truncate(folder, modality, description):
    path = series_of(folder, modality, description)[2]
    path.write_bytes(path.read_bytes()[:-500])


UNITS = (("ct", "HU"), ("mask", "mask"))
T2, CT = ("MR", "t2_tse_tra"), ("CT", "CTtoMR DIR")
REFUSED = {
    "no T2": (
        lambda f: remove(f, *T2),
        "0 of its MR series are T2-weighted ('t1_tse_tra' (MR, 7 slices)): export one",
    ),
    "two T2": (
        lambda f: copy_series(f, *T2, SeriesDescription="T2 again"),
        "2 of its MR series are T2-weighted",
    ),
    "no CT": (lambda f: [remove(f, *CT), remove(f, "CT", "Pelvis")], "its folder holds no CT"),
    "own CT only": (
        lambda f: [
            remove(f, "CT", "Pelvis"),
            [edit(path, Manufacturer="sde_ct") for path in series_of(f, *CT)],
        ],
        "its folder holds no CT, only a synthetic one: export",
    ),
    "output only": (
        lambda f: [
            *(remove(f, *one) for one in (T2, ("MR", "t1_tse_tra"), ("CT", "Pelvis"))),
            *(edit(path, SeriesDescription="MRCAT pelvis") for path in series_of(f, *CT)),
        ],
        "it holds a synthetic CT and no MR: move the output out of the patients' folder",
    ),
    "two CTs on the MR": (lambda f: copy_series(f, *CT), "it is unclear which CT"),
    "T2 misses a slice": (lambda f: lose(f, *T2, 4), "lacks a slice"),
    "CT misses a slice": (lambda f: lose(f, *CT, 4), "lacks a slice"),
    "nothing in common": (
        lambda f: [remove(f, *CT, slice(0, 2)), remove(f, *T2, slice(6, 8))],
        "fewer than two slices in common: leave",
    ),
    "T2 twice": (
        lambda f: shutil.copy(series_of(f, *T2)[0], f / "again.dcm"),
        "1 duplicated slice ",
    ),
    "cut short": (lambda f: truncate(f, *CT), "is damaged"),
    "two patients": (
        lambda f: edit(series_of(f, *T2)[0], PatientID="other"),
        "images of several patients",
    ),
    "native only": (lambda f: remove(f, *CT), "give --register=deformable"),
    "no images": (lambda f: [p.unlink() for p in f.glob("[CM]*.dcm")], "no DICOM image"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_patient_is_refused_with_its_reason(patient, tmp_path, name):
    damage, sentence = REFUSED[name]
    folder = patient("1_03_P")
    damage(folder)
    with pytest.raises(InputError) as error:
        prepare(
            find_cases("gold_atlas", tmp_path, Patterns()),
            tmp_path / "out" / "data",
            source="gold_atlas",
            split={"train": ("1_03_P",)},
        )
    assert sentence in str(error.value) and not list((tmp_path / "out").iterdir())


def test_a_synthetic_ct_on_the_mr_is_left_out(patient, tmp_path):
    """It lies in the MR's frame of reference and on its grid, as the deformed CT does."""
    folder = patient("1_03_P")
    copy_series(folder, *CT, Manufacturer="sde_ct", SeriesDescription="Synthetic CT from MR")
    (case,) = find_cases("gold_atlas", tmp_path, Patterns())
    read = case.read()
    assert "CTtoMR DIR" in read.chosen["ct"]
    assert "slices of a synthetic CT were left out" in " ".join(read.warnings)


def test_the_native_ct_is_registered_where_that_is_asked_for(patient, prepared, tmp_path):
    """What comes out is the CT that was taken away, but for two interpolations of large voxels."""
    data, _ = prepared
    folder = patient("1_03_P")
    remove(folder, *CT)
    (case,) = find_cases("gold_atlas", tmp_path, Patterns())
    split = {"train": ("1_03_P",)}
    found = prepare([case], tmp_path / "d", source="gold_atlas", split=split, register="rigid")
    ct, mask = (found.cases["1_03_P"].volume(k) for k in ("ct", "mask"))
    truth = data.cases["1_03_P"].volume("ct")
    inside = mask.array > 0
    assert np.abs(ct.array - truth.array)[inside].mean() < 60  # 170 where it lies 15 mm off
    report = json.loads((tmp_path / "d" / "report.json").read_text())["patients"]["1_03_P"]
    assert "the native CT, because no CT lies in the MR's frame" in report["chosen"]["ct"]
    quality = report["registration"]
    assert quality["body_dice"]["after"] > 0.97 and quality["kind"] == "rigid"
    assert quality["rotation_degrees"][2] == pytest.approx(-2.5, abs=6)  # and the MR's obliquity


def test_a_damaged_file_of_an_unused_series_is_a_warning(patient):
    folder = patient("1_03_P")
    for path in series_of(folder, "CT", "Pelvis")[:2]:
        path.write_bytes(path.read_bytes()[:300])
    for path in folder.glob("RTSTRUCT*"):
        path.write_bytes(path.read_bytes()[:300])
    found = AtlasCase("1_03_P", folder).read()
    assert found.mr.array.shape == found.ct.array.shape == (64, 64, 8)
    assert len(found.warnings) == 5 and all("damaged" in w or "lacks" in w for w in found.warnings)
    assert found.chosen["mask"].startswith("computed from the MR: no")
    assert found.facts["mask"] == "computed" and found.mask is None


def test_a_deformed_ct_on_another_grid_of_the_frame_is_resampled(patient, prepared):
    """Moved by half a voxel along a row: the resampled CT differs by half a gradient at most."""
    data, _ = prepared
    folder = patient("1_03_P")
    for path, header in headers(folder, *CT).items():
        place = np.array(header.ImagePositionPatient, float)
        row = np.array(header.ImageOrientationPatient[:3], float)
        half = 0.5 * float(header.PixelSpacing[1])
        edit(path, ImagePositionPatient=[f"{v:.8g}" for v in place + half * row])
    found = AtlasCase("1_03_P", folder).read()
    assert "lies on another grid" in found.warnings[0]
    ct = data.cases["1_03_P"].volume("ct").array
    expected = 0.5 * (ct[:-1] + ct[1:])
    np.testing.assert_allclose(found.ct.array[1:][:, 2:-2], expected[:, 2:-2], atol=0.1)


def test_beyond_the_grid_of_the_deformed_ct_nothing_is_trained_as_air(patient, tmp_path):
    """Site 2 pads with -2000 HU; its CT is cut to the middle 36 of 64 columns."""
    folder = patient("2_04_P")
    for path, header in headers(folder, "CT", "CTtoMR DIR").items():
        row = np.array(header.ImageOrientationPatient[:3], float)
        place = np.array(header.ImagePositionPatient, float)
        place = place + 14 * float(header.PixelSpacing[1]) * row
        pixels = np.ascontiguousarray(header.pixel_array[:, 14:50]).tobytes()
        place = [f"{v:.8g}" for v in place]
        edit(path, ImagePositionPatient=place, Columns=36, PixelData=pixels)
    (case,) = find_cases("gold_atlas", tmp_path, Patterns())
    split = {"train": ("2_04_P",)}
    data = prepare([case], tmp_path / "d", source="gold_atlas", split=split)
    ct, mask = (data.cases["2_04_P"].volume(k) for k in ("ct", "mask"))
    inside = mask.array > 0
    assert inside.any() and not inside[:13].any() and not inside[51:].any()
    assert (ct.array[inside] > -1020).all()  # neither filled nor mixed with padding
    report = json.loads((tmp_path / "d" / "report.json").read_text())["patients"]["2_04_P"]
    assert report["body_outside_field_of_view"] > 0.2
    assert any(
        "outside the field of view of MR or CT and is unused" in warning
        for warning in report["warnings"]
    )


def test_what_lies_beside_the_patients_makes_them_no_single_one(atlas, tmp_path):
    """Tables, notes and a directory of the export at the root; links in place of folders."""
    root = tmp_path / "cohort"
    (root / "1_09_P").mkdir(parents=True)  # nothing was copied into it
    (root / "docs").mkdir()
    for place in ("patients.csv", "README", "docs/plan.pdf"):
        (root / place).write_text("no image")
    (root / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    for name in NAMES[:2]:
        (root / name).symlink_to(atlas / name)
    (root / ".hidden").symlink_to(atlas / NAMES[2])
    cases = find_cases("gold_atlas", root, Patterns())
    assert [case.id for case in cases] == ["1_03_P", "1_09_P", "2_04_P"]
    assert cases[0].read().mr.array.shape == (64, 64, 8)
    with pytest.raises(InputError, match="its folder is empty: copy its files again"):
        cases[1].read()


def test_series_in_linked_subfolders_are_read_and_loops_are_not_followed(atlas, tmp_path):
    folder = tmp_path / "1_03_P"
    folder.mkdir()
    (folder / "series").symlink_to(atlas / "1_03_P")
    (folder / "again").symlink_to(folder)
    (case,) = find_cases("gold_atlas", tmp_path, Patterns())
    assert case.read().mr.array.shape == (64, 64, 8)


def test_t1_is_added_by_a_second_run(patient, tmp_path):
    patient("1_03_P")
    output, t1 = tmp_path / "d", tmp_path / "d/cases/1_03_P/t1.nii.gz"
    for wanted in (False, True, False):
        cases = find_cases("gold_atlas", tmp_path, Patterns(), t1=wanted)[:1]
        prepare(cases, output, source="gold_atlas", split={"train": ("1_03_P",)})
        assert t1.is_file() == wanted


@pytest.mark.parametrize("sequence", ["EP", ["SE", "IR"]])
def test_times_of_prepared_sequences_tell_no_weighting(patient, sequence):
    """Diffusion, STIR and FLAIR have a T2's echo and repetition times."""
    folder = patient("3_01_P")
    copy_series(folder, "MR", "ax", SeriesDescription="ax 3", ScanningSequence=sequence)
    assert AtlasCase("3_01_P", folder).read().chosen["mr"].startswith("'ax' (MR, 8 slices): TE 96")
    for path in series_of(folder, "MR", "ax"):
        path.unlink()
    with pytest.raises(InputError, match="0 of its MR series are T2-weighted"):
        AtlasCase("3_01_P", folder).read()


def test_the_header_of_the_t2_is_kept(patient):
    folder = patient("1_03_P")
    for path in series_of(folder, "MR", "t2_tse_tra"):
        edit(path, MagneticFieldStrength=3, ScanOptions="FS")
    kept = AtlasCase("1_03_P", folder).read().facts["acquisition"]
    assert kept["weighting"] == "T2" and kept["field"] == 3 and kept["fat_suppression"]


def test_a_name_written_otherwise_is_the_same_patients(patient):
    folder = patient("1_03_P")
    for path in folder.glob("CT*"):
        edit(path, PatientName=f"{pydicom.dcmread(path).PatientName}^^^".upper())
    assert AtlasCase("1_03_P", folder).read().mr.array.shape == (64, 64, 8)


def test_the_split_of_the_literature():
    left_out, test = literature_split(PATIENTS)
    assert left_out == [p for p in PATIENTS if p.startswith("3_")] and len(PATIENTS) == 19
    assert test == ["1_03_P", "1_06_P", "2_04_P", "2_11_P"] and len(left_out) == 4
    with pytest.raises(InputError, match="tests on 1_06"):
        literature_split([p for p in PATIENTS if p != "1_06_P"])


@pytest.mark.slow
def test_from_the_shell_to_the_split_of_the_literature(tmp_path):
    grid = ["--layout=gold_atlas", "--shape=40,40,4", "--spacing=11,11,12", "--patients=7"]
    done = call("phantom", f"--output={tmp_path / 'atlas'}", *grid)
    assert done.status == 0, done.err
    done = call(
        "prepare", "--source=gold_atlas", f"--input={tmp_path / 'atlas'}", "--split=literature",
        f"--output={tmp_path / 'data'}", "--size=40", "--crop_to_body", "--workers=1",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "left out by --split=literature: 3_01_P" in done.out
    report = json.loads((tmp_path / "data" / "report.json").read_text())
    assert sorted(report["split"]["test"]) == ["1_03_P", "1_06_P", "2_04_P", "2_11_P"]
    assert len(report["split"]["train"]) == len(report["split"]["validation"]) == 1
    assert len(list((tmp_path / "data" / "qc").iterdir())) == 6
