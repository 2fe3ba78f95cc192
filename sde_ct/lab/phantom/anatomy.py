"""The anatomy of a phantom patient."""

import numpy as np
from jaxtyping import Float, UInt8

from sde_ct.lab.phantom import organs
from sde_ct.lab.phantom.habitus import SIDES, Habitus
from sde_ct.lab.phantom.organs import FEMORAL_HEAD, ORGANS
from sde_ct.lab.phantom.shapes import FAR, Ellipsoid, Grid, Shape, Stroke, union
from sde_ct.lab.phantom.tissues import Tissue

SKIN_MM = 2.2
ONCE = (1,)  # the sides of an organ that is not paired

CAECUM = Ellipsoid((72, 45, 42), (26, 22, 32))  # in the right iliac fossa, anterior to iliopsoas

Coat = tuple[Tissue, float]  # a tissue, painted where the distance is below this number of mm


def label(
    grid: Grid, habitus: Habitus, rng: np.random.Generator, *, sided: bool = False
) -> UInt8[np.ndarray, "x y z"]:
    """The `Tissue` at every sample. `rng` varies muscles and vessels, and places gas in stool.

    Left and right are alike on average, apart from the upper rectum and the caecum, which `sided`
    adds on the right.
    """
    canvas = _Canvas(grid, habitus)
    for loop, gas in habitus.bowel:
        _hollow(canvas, loop, rng, gas=gas)
    _pelvic_organs(canvas, habitus, rng)
    hip = "joint capsule, obturator externus and small muscles of the hip"
    canvas.paint(ORGANS[hip], (Tissue.MUSCLE, 0), grow=habitus.muscle)
    for muscle in organs.MUSCLES.values():
        coats = (Tissue.FAT, habitus.gap), (Tissue.MUSCLE, 0)
        canvas.paint(muscle, *coats, grow=habitus.muscle + rng.normal(0, 0.7))
    if sided:
        canvas.paint(CAECUM, (Tissue.FAT, 1), (Tissue.WALL, 0), (Tissue.STOOL, -3), sides=ONCE)
    for vessels, tissue in ((organs.VEINS, Tissue.VEIN), (organs.ARTERIES, Tissue.ARTERY)):
        for vessel in vessels.values():
            canvas.paint(vessel, (tissue, 0), grow=rng.normal(0, 0.5))
    _skeleton(canvas, habitus)
    canvas.paint(ORGANS["natal cleft"], (Tissue.SKIN, 0), sides=ONCE)
    canvas.paint(habitus.insert, (Tissue.INSERT, 0), sides=ONCE)
    return canvas.labels


def body_distance(grid: Grid, habitus: Habitus) -> Float[np.ndarray, "x y z"]:
    """Signed distance to the skin in mm, exact to first order near the skin.

    The outline is |x/a|^n + |(y - c)/b|^n = 1, where a, b and c are in mm. b and n differ between
    front and back: the belly is round, and the buttocks are flat. The front dips at the groin.
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
    depth = np.where(ahead, front.astype(np.float32) * dip, back.astype(np.float32))
    power = np.where(ahead, np.float32(2.05), np.float32(2.6))
    u, v = x / half.astype(np.float32), np.abs(y) / depth
    du, dv = u ** (power - 1), v ** (power - 1)
    gradient = power * np.hypot(du / half.astype(np.float32), dv / depth)
    return (du * u + dv * v - 1) / np.maximum(gradient, 1e-4)


class _Canvas:
    """Labels to paint on. Later shapes cover earlier ones, but nothing covers the skin."""

    def __init__(self, grid: Grid, habitus: Habitus):
        self.grid, self.tilt = grid, habitus.tilt
        self.body = body_distance(grid, habitus)
        self.labels = np.zeros(self.body.shape, dtype=np.uint8)
        self.labels[self.body < 0] = Tissue.SKIN
        self.labels[self.body < -SKIN_MM] = Tissue.FAT

    def paint(
        self, shape: Shape, *coats: Coat, sides: tuple[int, ...] = SIDES, grow: float = 0.0
    ) -> list[Stroke]:
        """Paint the coats in order; return (box, distance) for each side that meets the grid."""
        both = [
            shape.distance(self.grid, side=side, lift=side * self.tilt, grow=grow) for side in sides
        ]
        strokes = [stroke for stroke in both if stroke is not None]
        for box, distance in strokes:
            for tissue, depth in coats:
                self.fill(box, distance < depth, tissue)
        return strokes

    def fill(self, box, where, tissue: Tissue) -> None:
        self.labels[box][where & (self.body[box] < -SKIN_MM)] = tissue

    def bone(self, shapes: list[Shape], shell: float, marrow: Tissue) -> None:
        """Unite shapes to one bone with a cortex of `shell` mm around `marrow`."""
        field = np.full(self.labels.shape, FAR, dtype=np.float32)
        strokes = [stroke for shape in shapes for stroke in self.paint(shape)]
        for box, distance in strokes:
            union(field, box, distance)
        for tissue, depth in ((Tissue.CORTEX, 0.0), (marrow, -shell)):
            for box, _ in strokes:
                self.fill(box, field[box] < depth, tissue)


def _pelvic_organs(canvas: _Canvas, habitus: Habitus, rng: np.random.Generator) -> None:
    canvas.paint(ORGANS["seminal vesicles"], (Tissue.SEMINAL_VESICLE, 0))
    for tissue, grow in ((Tissue.WALL, 0.0), (Tissue.URINE, -habitus.wall)):
        for lobe in habitus.bladder:
            canvas.paint(lobe, (tissue, 0), sides=ONCE, grow=grow)
    canvas.paint(habitus.prostate, (Tissue.PROSTATE_PERIPHERAL, 0), sides=ONCE)
    (x, y, z), (a, b, c) = habitus.prostate.centre, habitus.prostate.radii
    central = Ellipsoid((x, y + 0.25 * b, z + 2), (0.78 * a, 0.7 * b, 0.85 * c))
    canvas.paint(central, (Tissue.PROSTATE_CENTRAL, 0), sides=ONCE)
    rectum = ORGANS["rectum with anal canal and rectosigmoid"]
    _hollow(canvas, rectum, rng, grow=habitus.rectum, gas=0.04)
    for pocket in habitus.gas:
        for box, distance in canvas.paint(pocket, sides=ONCE):
            canvas.fill(box, (distance < 0) & (canvas.labels[box] == Tissue.STOOL), Tissue.GAS)


def _hollow(canvas: _Canvas, shape: Shape, rng, *, gas: float, grow: float = 0.0) -> None:
    """Paint an organ with a 3 mm wall that holds stool, a fraction `gas` of which is bubbles."""
    coats = (Tissue.FAT, 1), (Tissue.WALL, 0), (Tissue.STOOL, -3)
    for box, distance in canvas.paint(shape, *coats, sides=ONCE, grow=grow):
        canvas.fill(box, (distance < -4) & (rng.random(distance.shape) < gas), Tissue.GAS)


def _skeleton(canvas: _Canvas, habitus: Habitus) -> None:
    cortex = habitus.cortex
    canvas.bone([*organs.SACRUM.values()], 1.2 * cortex, Tissue.CANCELLOUS)
    canvas.paint(ORGANS["sacral foramina"], (Tissue.FAT, 0))
    canvas.paint(ORGANS["sacral canal"], (Tissue.CSF, 0), sides=ONCE)
    canvas.bone([*organs.HIP_BONE.values()], 1.8 * cortex, Tissue.CANCELLOUS)
    canvas.paint(ORGANS["symphysis"], (Tissue.CARTILAGE, 0), sides=ONCE)
    canvas.paint(FEMORAL_HEAD, (Tissue.CARTILAGE, 0), grow=2.2)
    canvas.bone([*organs.FEMUR.values(), FEMORAL_HEAD], 2.3 * cortex, Tissue.FATTY_MARROW)
    canvas.paint(FEMORAL_HEAD, (Tissue.FEMORAL_HEAD, 0), grow=-1.0 * cortex)
