"""The properties that differ between phantom patients."""

from dataclasses import dataclass

import numpy as np

from sde_ct.lab.phantom.shapes import Ellipsoid

SIDES = (1, -1)


@dataclass(frozen=True)
class Habitus:
    """The properties of one patient; lengths are in mm before `scale`."""

    scale: tuple[float, float, float]  # of the skeleton and of everything inside it
    fat: tuple[float, float, float]  # subcutaneous fat: lateral, anterior, posterior
    tilt: float  # mm by which the right side is raised and the left side lowered
    muscle: float  # added to every muscle's radius
    gap: float  # half the thickness of the fat between neighbouring muscles
    cortex: float  # factor on the thickness of cortical bone
    bladder: tuple[Ellipsoid, ...]  # overlapping lobes, because a bladder is not round
    wall: float  # thickness of the bladder's wall
    prostate: Ellipsoid
    rectum: float  # added to the rectum's radius
    gas: tuple[Ellipsoid, ...]  # pockets in the rectum
    bowel: tuple[tuple[Ellipsoid, float], ...]  # loops, each with its share of gas
    insert: Ellipsoid  # the ambiguous region, deep in one buttock


def draw_habitus(rng: np.random.Generator) -> Habitus:
    """A random patient, about 340 to 420 mm wide and 225 to 285 mm deep."""
    size, obesity = rng.normal(0, 0.025), rng.beta(2, 3)
    fill = rng.uniform(0.6, 1.05)  # scales a bladder about 45 mm in radius
    gland = rng.uniform(0.8, 1.2)
    height = -14 + 38 * fill  # the bladder rests on the prostate
    insert_side = rng.choice(SIDES)
    return Habitus(
        scale=tuple(np.clip(1 + size + rng.normal(0, 0.015, 3), 0.92, 1.07)),
        fat=tuple(rng.uniform(0.85, 1.15, 3) * ((3, 14, 20) + np.array((28, 24, 24)) * obesity)),
        tilt=rng.normal(0, 1.5),
        muscle=rng.normal(1.2, 0.9),
        gap=rng.uniform(0.6, 1.8),
        cortex=rng.uniform(0.85, 1.2),
        bladder=_bladder(rng, height, fill),
        wall=rng.uniform(2.5, 4.5),
        prostate=Ellipsoid((rng.normal(0, 1.5), -16, -28), (24 * gland, 18 * gland, 20 * gland)),
        rectum=rng.normal(0, 2),
        gas=tuple(_gas_pocket(rng) for _ in range(rng.integers(0, 4))),
        bowel=tuple(_bowel_loop(rng) for _ in range(rng.integers(14, 22))),
        insert=Ellipsoid(
            (insert_side * rng.uniform(104, 118), rng.uniform(-77, -70), rng.uniform(2, 14)),
            tuple(rng.uniform((14.5, 13.5, 18.5), (17, 15.5, 20.5))),
        ),
    )


def _gas_pocket(rng: np.random.Generator) -> Ellipsoid:
    z = rng.uniform(-25, 50)
    y = np.interp(z, (-25, 0, 22, 50), (-57, -65, -63, -46)) + 5
    return Ellipsoid((rng.normal(0, 4), y, z), tuple(rng.uniform((7, 6, 9), (15, 11, 22))))


def _bladder(rng: np.random.Generator, height: float, fill: float) -> tuple[Ellipsoid, ...]:
    x, y = rng.normal(0, 3), 26 + rng.normal(0, 3)
    dome = Ellipsoid((x, y, height), (44 * fill, (38 + rng.normal(0, 3)) * fill, 38 * fill))
    base = (x + rng.normal(0, 4), y - 12 * fill, height - 6 * fill)
    lobes = [dome, Ellipsoid(base, (42 * fill, 30 * fill, 31 * fill))]
    for side in SIDES:
        corner = (x + side * 17 * fill, y + rng.normal(2, 5), height - rng.uniform(-6, 8))
        lobes.append(Ellipsoid(corner, (31 * fill, 33 * fill, 31 * fill)))
    return tuple(lobes)


def _bowel_loop(rng: np.random.Generator) -> tuple[Ellipsoid, float]:
    radii = tuple(rng.uniform((13, 12, 14), (26, 18, 30)))
    z = rng.uniform(22, 80)  # further in front where the sacrum rises
    centre = (rng.uniform(-72, 72), rng.uniform(-25, 30 + 0.6 * z), z)
    return Ellipsoid(centre, radii), rng.choice((0.0, 0.0, 0.12, 0.35))
