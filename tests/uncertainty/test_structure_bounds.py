"""Bounds of structures' mean HU: fitted, kept, shown and verified as `patient_bounds` says."""

import json

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.uncertainty.structure_bounds import (
    StructureBounds,
    fit_structure_bounds,
    verified_structures,
)
from sde_ct.uncertainty.structure_table import lines, record, rows
from sde_ct.uncertainty.structures import StructureMean

DRAWS, SPREAD = 5, 20.0  # HU


def patient(rng, names=("bladder", "sacrum"), real=True):
    """Structures whose draws and truth have one law."""
    made = {}
    for name in names:
        truth, *draws = rng.uniform(0, 300) + rng.normal(0, SPREAD, DRAWS + 1)
        made[name] = StructureMean(np.array(draws), truth if real else None, 50.0)
    return made


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_new_patients_are_covered_as_stated(rng):
    fitted = fit_structure_bounds([patient(rng) for _ in range(99)], coverage=0.8)
    verified = verified_structures(fitted, [patient(rng) for _ in range(2000)]).verified
    for name in ("bladder", "sacrum"):
        assert verified[name]["patients"] == 2000
        # The share of 2000 patients scatters by 0.009, and that of the 99 fitted ones by 0.04.
        assert verified[name]["covered"] == pytest.approx(0.8, abs=0.1)


def test_a_structure_is_fitted_on_the_patients_that_have_it(rng):
    patients = [patient(rng) for _ in range(9)] + [patient(rng, ("bladder",)) for _ in range(3)]
    fitted = fit_structure_bounds(patients, coverage=0.8)
    assert {name: one.patients for name, one in fitted.fitted.items()} == {
        "bladder": 12,
        "sacrum": 9,
    }
    assert fitted.fitted["sacrum"].figure == "mean HU of sacrum"
    stored = StructureBounds.from_json(json.loads(json.dumps(fitted.to_json())))
    assert stored == fitted
    (bladder, *_), sacrum = fitted.lines(), fitted.lines()[1]
    assert "With 12 validation patients, at least 80 %" in bladder
    assert "(mean HU of sacrum)" in sacrum
    with pytest.raises(InputError, match="have no structure"):
        fit_structure_bounds([{}], coverage=0.8)


def test_the_table_shows_bounds_and_without_them_the_range_of_the_draws(rng):
    fitted = fit_structure_bounds([patient(rng, ("bladder",)) for _ in range(9)], coverage=0.8)
    new = patient(rng, real=False)
    bladder, sacrum = table = rows(new, 40.0, fitted)
    bounds = fitted.fitted["bladder"].apply(new["bladder"].mean, new["bladder"].spread)
    assert (bladder.lower, bladder.upper) == bounds and bladder.interval == "calibrated 80 %"
    assert (sacrum.lower, sacrum.upper) == (new["sacrum"].draws.min(), new["sacrum"].draws.max())
    assert sacrum.interval == "range of 5 draws"
    assert bladder.volume == 2.0  # cm³: 50 voxels of 40 mm³
    shown = lines(table, fitted)
    assert shown[1].split()[:2] == ["bladder", "2.0"] and shown[2].endswith("range of 5 draws")
    assert shown[3:] == ["Mean HU of structures in the draws.", fitted.fitted["bladder"].guarantee]
    kept = record(table, fitted)["structures"]
    assert kept["bladder"]["guarantee"] == fitted.fitted["bladder"].guarantee
    assert kept["sacrum"]["guarantee"] is None
    assert kept["bladder"]["mean"] == pytest.approx(new["bladder"].mean, abs=1e-4)


def test_too_few_patients_give_a_sentence_and_the_range_of_the_draws(rng):
    fitted = fit_structure_bounds([patient(rng, ("bladder",))] * 3, coverage=0.9)
    new = patient(rng, ("bladder",), real=False)
    (row,) = table = rows(new, 40.0, fitted)
    assert (row.lower, row.upper) == (new["bladder"].draws.min(), new["bladder"].draws.max())
    assert "(mean HU of bladder) for 90 % are infinite" in lines(table, fitted)[-1]
    assert StructureBounds.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted
