"""The chart of the frontier, on made-up points."""

import math

from sde_ct.config import SAMPLER_NAMES
from sde_ct.report.charts import COSTS, FRONTIER, FRONTIER_TOP, frontier


def point(evaluations, crps, spread_skill=1.0, energy=50.0):
    return {
        "evaluations": evaluations,
        "seconds": evaluations / 100,
        "mae": 2 * crps,
        "crps": crps,
        "spread_skill": spread_skill,
        "energy": energy,
    }


def test_every_figure_is_shown_against_every_cost():
    draws = [point(4, 30.0), point(20, 20.0), point(2, 900.0)]
    averages = [point(40, 15.0)]
    cnn = [point(1, 36.0, spread_skill=0.0, energy=math.nan)]
    curves = {"unipc": {"single": draws, "average": averages}, "cnn": {"single": cnn}}
    panels = dict(
        zip([(c, f) for c in COSTS for f in FRONTIER], frontier(curves).axes, strict=True)
    )
    for (cost, score), panel in panels.items():
        solid = panel.get_lines()[0]
        assert list(solid.get_xdata()) == sorted(p[cost] for p in draws)
        # A CNN has no spread and no energy score; only the MAE has a line of the averages.
        assert len(panel.get_lines()) == {"mae": 3, "crps": 2}.get(score, 1)
    # The error of too few evaluations does not flatten the others.
    assert panels["seconds", "crps"].get_ylim()[1] < 1.1 * FRONTIER_TOP * 20


def test_no_two_of_all_samplers_look_alike():
    """And a curve of a second network for each."""
    names = [f"{number} {name}" for number in (1, 2) for name in SAMPLER_NAMES]
    panel = frontier({name: {"single": [point(4, 30.0)]} for name in names}).axes[0]
    looks = {(line.get_color(), line.get_marker()) for line in panel.get_lines()}
    assert len(looks) == len(names)
