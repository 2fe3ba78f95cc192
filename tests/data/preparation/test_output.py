"""An output that is there already: it goes on as it began, whatever comes."""

import json
from pathlib import Path

import numpy as np
import pytest

from sde_ct.data.preparation import prepare as preparing
from sde_ct.data.preparation.output import claim, sides
from sde_ct.data.preparation.prepare import prepare
from sde_ct.data.prepared import read_prepared
from sde_ct.data.sources.cohorts import Patterns, find_cases
from sde_ct.data.split import split_patients
from sde_ct.errors import InputError

from ...programs import call, listing
from ..conftest import patient, save
from .test_prepare import prepared_of, times


def test_another_request_for_the_same_folder_is_refused(cohort, tmp_path):
    output = tmp_path / "data"
    data = prepared_of(cohort, output, size=(16, 16))
    with pytest.raises(InputError, match=r"with other settings \(size: \[16, 16\] -> None\)"):
        prepared_of(cohort, output)
    names = list(data.cases)
    (moved,) = data.split["test"]
    split = {"train": [n for n in names if n != names[0]], "test": [names[0]]}
    cases = find_cases("synthrad2023", cohort, Patterns())
    assert moved != names[0]
    with pytest.raises(InputError, match=r"has patient .* in .*, not in .*: leave the patient"):
        prepare(cases, output, source="synthrad2023", split=split, size=(16, 16))
    assert read_prepared(output) == data


def test_a_prepared_set_as_input_is_refused(cohort, tmp_path):
    prepared_of(cohort, tmp_path / "data", size=(16, 16))
    done = call(
        "prepare", "--source=pairs", f"--input={tmp_path / 'data'}", f"--output={tmp_path / 'd'}"
    )
    assert done.status == 2 and "data is a prepared data set: give the folder of images" in done.err
    assert not (tmp_path / "d").exists()
    with pytest.raises(InputError, match=r"is not a prepared data set.*did you mean .*/data\?"):
        read_prepared(tmp_path)


def test_sides_are_kept_where_a_patient_is_added(cohort, tmp_path):
    """By the default fractions, whoever it is; the split drawn anew would move patients."""
    first = call(
        "prepare", "--source=synthrad2023", f"--input={cohort}", f"--output={tmp_path / 'd'}"
    )
    assert first.status == 0 and "keeps the split" not in first.out
    before = read_prepared(tmp_path / "d").split
    for number in range(5, 8):
        for kind, array in patient(seed=number).items():
            save(cohort / f"Task1/pelvis/1PA00{number}/{kind}.nii.gz", array)
        done = call(
            "prepare", "--source=synthrad2023", f"--input={cohort}", f"--output={tmp_path / 'd'}"
        )
        assert done.status == 0, done.err
        after = read_prepared(tmp_path / "d").split
        assert all(set(names) <= set(after[part]) for part, names in before.items())
        before = after
    assert {part: len(names) for part, names in after.items()} == {
        "train": 5, "validation": 1, "test": 2,
    }  # fmt: skip


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_sides_are_kept_where_broken_files_are_repaired(cohort, tmp_path):
    """Of training, validation and test patients who are refused by the first call."""
    place, output = cohort / "Task1" / "pelvis", tmp_path / "d"
    for number in range(5, 14):
        for kind, array in patient(seed=number).items():
            save(place / f"1PA{number:03d}" / f"{kind}.nii.gz", array)
    drawn = split_patients(names(place))
    broken = [drawn["train"][0], drawn["train"][5], drawn["validation"][0], *drawn["test"][:2]]
    whole = {name: (place / name / "ct.nii.gz").read_bytes() for name in broken}
    for name in broken:
        (place / name / "ct.nii.gz").write_bytes(whole[name][:99])
    flags = ("--source=synthrad2023", f"--input={cohort}", f"--output={output}", "--workers=1")
    assert call("prepare", *flags).status == 2
    left = {part: tuple(n for n in names if n not in broken) for part, names in drawn.items()}
    assert read_prepared(output).split == left
    for name in broken[::2]:  # in two steps, with a new patient in between
        (place / name / "ct.nii.gz").write_bytes(whole[name])
    for kind, array in patient(seed=99).items():
        save(place / "1PA099" / f"{kind}.nii.gz", array)
    assert call("prepare", *flags).status == 2
    for name in broken:
        (place / name / "ct.nii.gz").write_bytes(whole[name])
    done = call("prepare", *flags)
    assert done.status == 0, done.err
    after = read_prepared(output).split
    assert all(set(names) <= set(after[part]) for part, names in drawn.items())
    assert sum(map(len, after.values())) == 15


def test_a_set_without_sides_keeps_the_split_of_its_patients(cohort, tmp_path):
    """As older sets are."""
    before = prepared_of(cohort, tmp_path / "data").split
    index = json.loads((tmp_path / "data" / "dataset.json").read_text())
    part_of = {name: part for part, names in before.items() for name in names}
    assert index.pop("sides") == part_of == sides(tmp_path / "data")
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(index))
    assert sides(tmp_path / "data") == part_of and read_prepared(tmp_path / "data").split == before


@pytest.mark.parametrize("left", [("1PA003", "1PA004"), ()])
def test_an_input_without_earlier_patients_is_refused(cohort, tmp_path, left):
    """Some deleted sources, or the next patients in a folder of their own."""
    output, place = tmp_path / "d", cohort / "Task1" / "pelvis"
    flags = ("--source=synthrad2023", f"--input={cohort}", f"--output={output}")
    assert call("prepare", *flags).status == 0
    before = listing(output)
    for name in names(place):
        if name not in left:
            (place / name).rename(place / f"1PB{name[3:]}")
    done = call("prepare", *flags)
    assert done.status == 2 and done.error == (
        f"{output} holds {5 - len(left)} patients that this command leaves out "
        f"({', '.join(n for n in sorted(read_prepared(output).cases) if n not in left)}): give "
        "one --input with all patients, or another --output"
    )
    assert listing(output) == before
    cases = find_cases("synthrad2023", cohort, Patterns())
    split = {"train": [case.id for case in cases]}
    with pytest.raises(InputError, match="patients that this command leaves out"):
        prepare(cases, output, source="synthrad2023", split=split, pictures=True)
    assert listing(output) == before


def test_slices_of_another_size_spoil_no_data_that_are_there(cohort, tmp_path):
    """A new patient, and one whose files changed; whatever is run, and again."""
    place, output = cohort / "Task1" / "pelvis", tmp_path / "data"
    before = prepared_of(cohort, output)
    for name in ("1PA000", "1PA009"):
        for kind, array in patient((22, 18, 7), seed=9).items():
            save(place / name / f"{kind}.nii.gz", array)
        if name == "1PA000":  # not the same patient twice
            save(place / name / "mr.nii.gz", patient((22, 18, 7), seed=8)["mr"])
    cases = find_cases("synthrad2023", cohort, Patterns())
    part = {name: part for part, names in before.split.items() for name in names}
    split = split_patients([case.id for case in cases], before=part)
    for _ in range(2):
        data = prepare(cases, output, source="synthrad2023", split=split)
        assert sorted(data.cases) == ["1PA001", "1PA002", "1PA003", "1PA004"]
        refused = json.loads((output / "report.json").read_text())["refused"]
        assert sorted(refused) == ["1PA000", "1PA009"] and not (output / "cases/1PA009").exists()
        assert "its slices have [18, 22] pixels, but those of" in refused["1PA009"]


def test_an_interrupted_run_of_two_sizes_is_found_by_the_next(cohort, tmp_path, monkeypatch):
    """What is kept is checked as what is new."""
    for kind, array in patient((22, 18, 7), seed=9).items():
        save(cohort / f"Task1/pelvis/1PA004/{kind}.nii.gz", array)
    output = tmp_path / "data"
    with monkeypatch.context() as patched:
        patched.setattr(preparing, "_require_one_size", lambda *_: None)
        patched.setattr(preparing, "_finish", lambda *_: output.rename(tmp_path / "never"))
        with pytest.raises(InputError, match="does not exist"):
            prepared_of(cohort, output)
    (tmp_path / "never").rename(output)
    with pytest.raises(InputError, match=r"slices of 1PA000 have .*, but those of 1PA004"):
        prepared_of(cohort, output)
    assert sorted(times(output)) == ["1PA000", "1PA001", "1PA002", "1PA003"]


def test_an_output_that_another_process_made_meanwhile_is_its(tmp_path, monkeypatch):
    """Both found none; the second goes on as one that came later, as far as the lock lets it."""
    assert claim(tmp_path / "d", {"source": "s"})
    with monkeypatch.context() as patched:
        patched.setattr(Path, "exists", lambda path: path.name != "d")
        assert not claim(tmp_path / "d", {"source": "s"})
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_second_preparation_of_one_output_is_refused(cohort, tmp_path, monkeypatch):
    """While the first is at its second patient; which it then ends as if alone."""
    output, saved, refusals = tmp_path / "data", np.save, []

    def meanwhile(path, *args, **options):
        if "1PA001" in str(path) and not refusals:
            with pytest.raises(InputError, match="Another process is preparing data in") as error:
                prepared_of(cohort, output)
            refusals.append(error)
        saved(path, *args, **options)

    monkeypatch.setattr(np, "save", meanwhile)
    assert len(prepared_of(cohort, output).cases) == 5 and refusals
