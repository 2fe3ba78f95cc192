"""One patient's anatomy: how it departs from the average, and the tissue at every sample."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from sde_ct.data import atlas
from sde_ct.data.shapes import FAR, Chain, Ellipsoid, Grid, Shape, union
from sde_ct.data.tissues import Tissue

SIDES = (1, -1)
SKIN_MM = 2.2


@dataclass(frozen=True)
class Habitus:
    """What differs from patient to patient; lengths in mm before `scale`."""

    scale: tuple[float, float, float]  # of the skeleton and all inside it
    fat: tuple[float, float, float]  # subcutaneous fat: lateral, anterior, posterior
    tilt: float  # half the difference in height between right and left
    muscle: float  # added to every muscle's radius
    gap: float  # half the fat between neighbouring muscles
    cortex: float  # factor on the thickness of cortical bone
    bladder: tuple[Ellipsoid, ...]  # overlapping lobes: a bladder is not round
    wall: float  # of the bladder
    prostate: Ellipsoid
    rectum: float  # added to the rectum's radius
    gas: tuple[Ellipsoid, ...]  # pockets in the rectum
    bowel: tuple[tuple[Ellipsoid, float], ...]  # loops and the gas fraction of their content
    insert: Ellipsoid  # the ambiguous region, deep in one buttock


def draw_habitus(rng: np.random.Generator) -> Habitus:
    """A random patient; the spread covers body widths of about 330-430 mm."""
    size, obesity = rng.normal(0, 0.025), rng.beta(2, 3)
    fill = rng.uniform(0.6, 1.05)  # of a bladder about 45 mm in radius
    gland = rng.uniform(0.8, 1.2)
    height = -14 + 38 * fill  # the bladder rests on the prostate
    insert_side = rng.choice(SIDES)
    return Habitus(
        scale=tuple(np.clip(1 + size + rng.normal(0, 0.015, 3), 0.92, 1.07)),
        fat=tuple(
            rng.uniform(0.85, 1.15, 3) * np.add((3, 14, 20), np.multiply((28, 24, 24), obesity))
        ),
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
            tuple(rng.uniform((14, 13, 18), (17, 15, 20))),
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
    corners = (
        (x + side * 17 * fill, y + rng.normal(2, 5), height - rng.uniform(-6, 8)) for side in SIDES
    )
    return (
        dome,
        Ellipsoid(base, (42 * fill, 30 * fill, 31 * fill)),
        *(Ellipsoid(corner, (31 * fill, 33 * fill, 31 * fill)) for corner in corners),
    )


def _bowel_loop(rng: np.random.Generator) -> tuple[Ellipsoid, float]:
    radii = tuple(rng.uniform((13, 12, 14), (26, 18, 30)))
    z = rng.uniform(22, 80)  # in front as the sacrum rises, lower at the sides
    centre = (rng.uniform(-72, 72), rng.uniform(-25, 30 + 0.6 * z), z)
    return Ellipsoid(centre, radii), rng.choice((0.0, 0.0, 0.12, 0.35))


def body_distance(grid: Grid, habitus: Habitus) -> Float[np.ndarray, "x y z"]:
    """Distance to the skin, mm, exact to first order near it.

    The outline is |x/a|^n + |(y - c)/b|^n = 1 with other b and n in front and behind, so that the
    flanks are full, the belly narrower, and the buttocks flat.
    """
    centre = -45.0
    lateral, anterior, posterior = habitus.fat
    z = grid.z
    half = 172 - 0.0016 * (z - 5) ** 2 + lateral
    front = np.interp(z, (-45, 0, 20, 45, 65), (60, 70, 79, 95, 102)) - centre + anterior
    back = centre + 108 - 0.002 * (z + 5) ** 2 + posterior
    groin = 0.10 * np.interp(z, (-45, 0, 20), (1, 0.5, 0))  # the dip between belly and thigh
    x, y = np.abs(grid.x), grid.y - np.float32(centre)
    ahead = y > 0
    dip = 1 - groin.astype(np.float32) * np.exp(-(((x - 72) / 26) ** 2))
    depth = np.where(ahead, (front.astype(np.float32) * dip), back.astype(np.float32))
    power = np.where(ahead, np.float32(2.05), np.float32(2.6))
    u, v = x / half.astype(np.float32), np.abs(y) / depth
    du, dv = u ** (power - 1), v ** (power - 1)
    slope = power * np.hypot(du / half.astype(np.float32), dv / depth)
    return (du * u + dv * v - 1) / np.maximum(slope, 1e-4)


class _Canvas:
    """Labels being painted: later strokes cover earlier ones, and nothing leaves the body."""

    def __init__(self, grid: Grid, habitus: Habitus):
        self.grid, self.tilt = grid, habitus.tilt
        self.body = body_distance(grid, habitus)
        self.labels = np.zeros(self.body.shape, dtype=np.uint8)
        self.labels[self.body < 0] = Tissue.SKIN
        self.labels[self.body < -SKIN_MM] = Tissue.FAT

    def strokes(self, shape: Shape, *, sides=SIDES, grow: float = 0.0):
        """(box, distance) on each side the grid reaches."""
        found = (shape.distance(self.grid, side=s, lift=s * self.tilt, grow=grow) for s in sides)
        return [hit for hit in found if hit is not None]

    def paint(self, box, where, tissue: Tissue):
        self.labels[box][where & (self.body[box] < -SKIN_MM)] = tissue

    def solid(self, shape: Shape, tissue: Tissue, *, sides=SIDES, grow: float = 0.0):
        for box, distance in self.strokes(shape, sides=sides, grow=grow):
            self.paint(box, distance < 0, tissue)

    def bone(self, shapes: tuple[Shape, ...], shell: float, marrow: Tissue):
        """Shapes joined to one bone: a cortex `shell` mm thick, `marrow` within."""
        field = np.full(self.labels.shape, FAR, dtype=np.float32)
        boxes = []
        for shape in shapes:
            for box, distance in self.strokes(shape):
                union(field, box, distance)
                boxes.append(box)
        for box in boxes:
            self.paint(box, field[box] < 0, Tissue.CORTEX)
        for box in boxes:
            self.paint(box, field[box] < -shell, marrow)


def label(grid: Grid, habitus: Habitus, rng: np.random.Generator) -> UInt8[np.ndarray, "x y z"]:
    """The `Tissue` at every sample; `rng` varies single muscles and scatters gas in stool."""
    canvas = _Canvas(grid, habitus)
    _bowel(canvas, habitus, rng)
    _organs(canvas, habitus, rng)
    canvas.solid(atlas.DEEP_ROTATORS, Tissue.MUSCLE, grow=habitus.muscle)
    for chain in atlas.MUSCLES.values():
        for box, distance in canvas.strokes(chain, grow=habitus.muscle + rng.normal(0, 0.7)):
            canvas.paint(box, distance < habitus.gap, Tissue.FAT)
            canvas.paint(box, distance < 0, Tissue.MUSCLE)
    for chain in atlas.VEINS.values():
        canvas.solid(chain, Tissue.VEIN, grow=rng.normal(0, 0.5))
    for chain in atlas.ARTERIES.values():
        canvas.solid(chain, Tissue.ARTERY, grow=rng.normal(0, 0.5))
    _skeleton(canvas, habitus)
    for box, distance in canvas.strokes(atlas.NATAL_CLEFT, sides=(1,)):
        canvas.paint(box, distance < 0, Tissue.SKIN)
    canvas.solid(habitus.insert, Tissue.INSERT, sides=(1,))
    return canvas.labels


def _organs(canvas: _Canvas, habitus: Habitus, rng: np.random.Generator):
    canvas.solid(atlas.SEMINAL_VESICLES, Tissue.SEMINAL_VESICLE)
    for tissue, grow in ((Tissue.WALL, 0.0), (Tissue.URINE, -habitus.wall)):
        for lobe in habitus.bladder:
            canvas.solid(lobe, tissue, sides=(1,), grow=grow)
    canvas.solid(habitus.prostate, Tissue.PROSTATE_PERIPHERAL, sides=(1,))
    (x, y, z), (a, b, c) = habitus.prostate.centre, habitus.prostate.radii
    central = Ellipsoid((x, y + 0.25 * b, z + 2), (0.78 * a, 0.7 * b, 0.85 * c))
    canvas.solid(central, Tissue.PROSTATE_CENTRAL, sides=(1,))
    _hollow(canvas, atlas.RECTUM, rng, grow=habitus.rectum, gas=0.04)
    for pocket in habitus.gas:
        for box, distance in canvas.strokes(pocket, sides=(1,)):
            canvas.paint(box, (distance < 0) & (canvas.labels[box] == Tissue.STOOL), Tissue.GAS)


def _bowel(canvas: _Canvas, habitus: Habitus, rng: np.random.Generator):
    for loop, gas in habitus.bowel:
        _hollow(canvas, loop, rng, gas=gas)


def _hollow(canvas: _Canvas, shape: Chain | Ellipsoid, rng, *, grow: float = 0.0, gas: float):
    """A 3 mm wall filled with stool, a fraction `gas` of it bubbles."""
    for box, distance in canvas.strokes(shape, sides=(1,), grow=grow):
        canvas.paint(box, distance < 1, Tissue.FAT)
        canvas.paint(box, distance < 0, Tissue.WALL)
        canvas.paint(box, distance < -3, Tissue.STOOL)
        canvas.paint(box, (distance < -4) & (rng.random(distance.shape) < gas), Tissue.GAS)


def _skeleton(canvas: _Canvas, habitus: Habitus):
    canvas.bone(atlas.SACRUM, 1.1 * habitus.cortex, Tissue.CANCELLOUS)
    canvas.solid(atlas.FORAMINA, Tissue.FAT)
    canvas.solid(atlas.SACRAL_CANAL, Tissue.CSF, sides=(1,))
    canvas.bone(atlas.HIP_BONE, 1.8 * habitus.cortex, Tissue.CANCELLOUS)
    canvas.solid(atlas.SYMPHYSIS, Tissue.CARTILAGE, sides=(1,))
    canvas.solid(atlas.FEMORAL_HEAD, Tissue.CARTILAGE, grow=2.2)
    femur = (*atlas.FEMUR, atlas.FEMORAL_HEAD)
    canvas.bone(femur, 2.3 * habitus.cortex, Tissue.FATTY_MARROW)
    canvas.solid(atlas.FEMORAL_HEAD, Tissue.FEMORAL_HEAD, grow=-1.0 * habitus.cortex)
