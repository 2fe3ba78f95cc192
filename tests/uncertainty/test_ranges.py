"""The path lengths of a plan: its rows by hand, its tables, and what is refused."""

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.uncertainty.range_table import csv_text, lines, record
from sde_ct.uncertainty.ranges import target_ranges
from sde_ct.uncertainty.ray_plan import RayPlan, plan_of_flags
from sde_ct.uncertainty.stopping_power import MATRAD, PYRADPLAN, StoppingPower
from sde_ct.volumes.volume import Volume

# RSP 0 in air and 1 at 0 HU; 1000 HU are 2.
PLAN = RayPlan((0.0, 90.0), StoppingPower("folder/test.csv", (-1000, 1000), (0, 2)))
SHAPE, AFFINE = (21, 21, 5), np.diag([2.0, 2.0, 2.0, 1.0])
BODY = np.zeros(SHAPE, bool)
BODY[2:19, 4:17] = True


def volume(array):
    return Volume(array, AFFINE, "mask")


@pytest.fixture
def case():
    """Three draws of one HU in the body each, a real CT with a couch, and a target of 27 voxels."""
    air = np.full(SHAPE, -1000.0)
    draws = [np.where(BODY, hu, air) for hu in (-100.0, 0.0, 400.0)]
    ct = np.where(BODY, 50.0, air)
    ct[:, 19] = 1000.0  # a couch before the patient, which does not count
    target = np.zeros(SHAPE, np.uint8)
    target[9:12, 9:12, 1:4] = 1
    return draws, volume(target), ct


# Millimetres of body before the centre of the target: from 0° voxels 11 to 16 and half of 10, from
# 90°, which is the patient's left at low x, voxels 2 to 9 and half of 10.
DEPTHS = {0: 2 * 6.5, 90: 2 * 8.5}


def test_rows_are_the_lengths_of_the_ray_to_the_centre(case):
    draws, target, ct = case
    ranges = target_ranges(draws, target, PLAN, BODY, ct=ct)
    *centre, surface = ranges.rows()
    assert [row.name for row in centre] == ["0", "90"] and [row.rays for row in centre] == [1, 1]
    for row, depth in zip(centre, DEPTHS.values(), strict=True):
        factors = np.array([0.9, 1.0, 1.4])
        # Exact but for rounding; rays to the centre run along the voxels.
        assert row.nominal == pytest.approx(1.1 * depth, abs=1e-9)
        assert row.mean == pytest.approx(factors.mean() * depth, abs=1e-9)
        assert row.spread == pytest.approx(factors.std(ddof=1) * depth, abs=1e-9)
        assert (row.lower, row.upper) == pytest.approx((0.9 * depth, 1.4 * depth))
        assert row.real == pytest.approx(1.05 * depth) and row.error == pytest.approx(0.05 * depth)
    assert ranges.interval == "range of the 3 draws" and ranges.unmeasured == 0
    outer = ~ranges.central
    assert surface.name == "surface" and surface.rays == outer.sum() == 2 * 26
    assert surface.nominal == pytest.approx(ranges.figures.nominal[outer].mean())
    rms = np.sqrt(np.square(ranges.figures.spread[outer]).mean())
    assert surface.spread == pytest.approx(rms)
    assert surface.error == pytest.approx(ranges.figures.error[outer].mean())


def test_rays_that_the_real_ct_did_not_measure_are_left_out(case):
    draws, target, ct = case
    measured = np.ones(SHAPE, bool)
    measured[:5] = False  # the left side, which only rays from 90° cross
    ranges = target_ranges(draws, target, PLAN, BODY, ct=ct, measured=measured)
    front, left, surface = ranges.rows()
    assert front.error == pytest.approx(0.05 * DEPTHS[0])
    assert np.isnan(left.real) and np.isnan(left.error) and np.isfinite(left.nominal)
    assert ranges.unmeasured == 27 and surface.rays == 26
    assert "90°" in lines(ranges)[2] and lines(ranges)[2].endswith("-      -")
    assert record(ranges)["rows"][1]["error"] is None
    assert record(ranges)["rays"]["real"][27:] == [None] * 27


def test_rays_to_the_centre_alone(case):
    draws, target, _ = case
    ranges = target_ranges(draws, target, PLAN, BODY, centre_only=True)
    assert len(ranges.rays.gantry) == 2 and [row.name for row in ranges.rows()] == ["0", "90"]


def test_tables(case):
    draws, target, ct = case
    alone = target_ranges(draws, target, PLAN, BODY)
    head, first, *_ = csv_text({(): alone.rows()}).splitlines()
    assert head == "gantry_degrees,rays,nominal_mm,mean_mm,spread_mm,lower_mm,upper_mm"
    assert first == "0,1,14.3,14.3,3.4395,11.7,18.2"
    judged = target_ranges(draws, target, PLAN, BODY, ct=ct)
    rows = csv_text({("CNN", "anna"): judged.rows()}, ("method", "patient")).splitlines()
    assert rows[0].startswith("method,patient,gantry") and rows[0].endswith(",real_mm,error_mm")
    assert rows[2].startswith("CNN,anna,90,1,") and rows[2].endswith(",17.85,0.85")
    printed = lines(judged)
    assert printed[0].split() == [
        *("gantry", "rays", "nominal", "mean", "spread", "interval", "real", "error")
    ]
    assert printed[1].split() == "0° 1 14.3 14.3 3.44 11.7 to 18.2 13.7 +0.7".split()
    assert printed[3].startswith("surface") and "the interval is the range of the 3" in printed[4]
    values = record(judged)
    assert values["gantry"] == [0, 90] and values["stopping_power"]["name"] == "test.csv"
    assert values["draws"] == 3 and values["guarantee"] is None
    assert values["rays"]["end"][0] == [20.0, 20.0, 4.0] and len(values["rays"]["nominal"]) == 54


def test_a_target_outside_the_body_is_refused(case):
    draws, target, _ = case
    with pytest.raises(InputError, match="The target lies outside the body"):
        target_ranges(draws, volume(np.roll(target.array, 10, axis=0)), PLAN, BODY)


def test_a_plan_from_flags(tmp_path):
    assert plan_of_flags([], None, target=None) is None
    plan = plan_of_flags(["0", "90.5"], None, target="t.nii")
    assert plan.gantry == (0.0, 90.5) and plan.table is PYRADPLAN
    assert plan_of_flags(["0"], "matRad", target="t.nii").table is MATRAD
    (tmp_path / "own.csv").write_text("HU,RSP\n-1000,0\n0,1\n")
    own = plan_of_flags(["0"], str(tmp_path / "own.csv"), target="t.nii")
    assert own.to_json()["stopping_power"] == {"name": "own.csv", "hu": [-1000, 0], "rsp": [0, 1]}


REFUSED = {
    "text": (["0", "left"], None, "t", "--rays: 'left' is not a gantry angle: give degrees from 0"),
    "too far": (["360"], None, "t", "'360' is not a gantry angle"),
    "nan": (["nan"], None, "t", "'nan' is not a gantry angle"),
    "twice": (["90", "90.0"], None, "t", "holds the gantry angle 90 twice"),
    "one name": (["10.00001", "10.00002"], None, "t", "holds the gantry angle 10 twice"),
    "no target": (["90"], None, None, "--rays needs a target: give --target"),
    "empty target": (["90"], None, "", "--rays needs a target: give --target"),
    "no rays": ([], None, "t", "--target works only with --rays"),
    "a table alone": ([], "matrad", None, "--stopping_power works only with --rays"),
    "no table": (["0"], "eclipse", "t", "eclipse cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_flags_that_are_refused(name):
    gantry, table, target, sentence = REFUSED[name]
    with pytest.raises(InputError, match=sentence):
        plan_of_flags(gantry, table, target=target)
