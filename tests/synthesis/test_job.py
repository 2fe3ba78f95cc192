"""The bar that is shown while a volume is drawn."""

import io

import pytest
from tqdm import tqdm

from sde_ct.synthesis import job


@pytest.mark.parametrize(
    ("batches", "counted"),
    [
        # 3 slices with 4 draws each, in batches of 5 samples
        (range(0, 12, 5), [(0, 3, "slice"), (1, 3, "slice"), (2, 3, "slice"), (3, 3, "slice")]),
        # 4 draws of one volume, 3 at a time
        (range(0, 4, 3), [(0, 4, "draw"), (3, 4, "draw"), (4, 4, "draw")]),
    ],
)
def test_a_bar_counts_slices_or_the_draws_of_a_volume(batches, counted, monkeypatch):
    bars = []

    def bar(**options):
        bars.append(tqdm(file=io.StringIO(), **options))
        return bars[0]

    monkeypatch.setattr(job, "bar", bar)
    seen = []
    for _ in job._slices("patient", 4, batches):
        seen.append((bars[0].n, bars[0].total, bars[0].unit))
    seen.append((bars[0].n, bars[0].total, bars[0].unit))
    assert seen == counted
