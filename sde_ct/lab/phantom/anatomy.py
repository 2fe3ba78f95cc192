"""One patient's anatomy: the tissue at every sample."""

import numpy as np
from jaxtyping import Float, UInt8

from sde_ct.lab.phantom import skeleton, soft_tissue
from sde_ct.lab.phantom.habitus import SIDES, Habitus
from sde_ct.lab.phantom.shapes import FAR, Chain, Ellipsoid, Grid, Shape, union
from sde_ct.lab.phantom.tissues import Tissue

SKIN_MM = 2.2


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
    canvas.solid(soft_tissue.DEEP_ROTATORS, Tissue.MUSCLE, grow=habitus.muscle)
    for chain in soft_tissue.MUSCLES.values():
        for box, distance in canvas.strokes(chain, grow=habitus.muscle + rng.normal(0, 0.7)):
            canvas.paint(box, distance < habitus.gap, Tissue.FAT)
            canvas.paint(box, distance < 0, Tissue.MUSCLE)
    for chain in soft_tissue.VEINS.values():
        canvas.solid(chain, Tissue.VEIN, grow=rng.normal(0, 0.5))
    for chain in soft_tissue.ARTERIES.values():
        canvas.solid(chain, Tissue.ARTERY, grow=rng.normal(0, 0.5))
    _skeleton(canvas, habitus)
    for box, distance in canvas.strokes(soft_tissue.NATAL_CLEFT, sides=(1,)):
        canvas.paint(box, distance < 0, Tissue.SKIN)
    canvas.solid(habitus.insert, Tissue.INSERT, sides=(1,))
    return canvas.labels


def _organs(canvas: _Canvas, habitus: Habitus, rng: np.random.Generator):
    canvas.solid(soft_tissue.SEMINAL_VESICLES, Tissue.SEMINAL_VESICLE)
    for tissue, grow in ((Tissue.WALL, 0.0), (Tissue.URINE, -habitus.wall)):
        for lobe in habitus.bladder:
            canvas.solid(lobe, tissue, sides=(1,), grow=grow)
    canvas.solid(habitus.prostate, Tissue.PROSTATE_PERIPHERAL, sides=(1,))
    (x, y, z), (a, b, c) = habitus.prostate.centre, habitus.prostate.radii
    central = Ellipsoid((x, y + 0.25 * b, z + 2), (0.78 * a, 0.7 * b, 0.85 * c))
    canvas.solid(central, Tissue.PROSTATE_CENTRAL, sides=(1,))
    _hollow(canvas, soft_tissue.RECTUM, rng, grow=habitus.rectum, gas=0.04)
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
    canvas.bone(skeleton.SACRUM, 1.2 * habitus.cortex, Tissue.CANCELLOUS)
    canvas.solid(skeleton.FORAMINA, Tissue.FAT)
    canvas.solid(skeleton.SACRAL_CANAL, Tissue.CSF, sides=(1,))
    canvas.bone(skeleton.HIP_BONE, 1.8 * habitus.cortex, Tissue.CANCELLOUS)
    canvas.solid(skeleton.SYMPHYSIS, Tissue.CARTILAGE, sides=(1,))
    canvas.solid(skeleton.FEMORAL_HEAD, Tissue.CARTILAGE, grow=2.2)
    femur = (*skeleton.FEMUR, skeleton.FEMORAL_HEAD)
    canvas.bone(femur, 2.3 * habitus.cortex, Tissue.FATTY_MARROW)
    canvas.solid(skeleton.FEMORAL_HEAD, Tissue.FEMORAL_HEAD, grow=-1.0 * habitus.cortex)
