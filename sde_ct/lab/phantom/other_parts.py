"""MRs of a simple head and of simple thighs, which a network of the pelvis must not accept."""

import numpy as np
from scipy import ndimage

from sde_ct.lab.phantom.scanner import SCANNERS
from sde_ct.lab.phantom.tissues import Tissue, spin_echo, table
from sde_ct.volumes.volume import Volume

FINE = 3  # samples of each voxel along each axis


def head(like: Volume, seed: int) -> Volume:
    """A T2-weighted head on the grid of `like`: scalp, skull, fluid, brain and ventricles."""
    x, y, z = positions(like, FINE)
    size = np.sqrt(np.maximum(1 - (z / 140) ** 2, 0.2))
    radius = np.hypot(x / (78 * size), y / (97 * size))
    labels = np.zeros(radius.shape, int)
    for limit, tissue in ((1.0, Tissue.SKIN), (0.96, Tissue.FAT), (0.92, Tissue.CORTEX)):
        labels[radius < limit] = tissue
    labels[radius < 0.84] = Tissue.CSF
    labels[radius < 0.8] = Tissue.MUSCLE  # in place of brain, which is about as bright
    ventricles = np.hypot((np.abs(x) - 14) / 9, y / 32) < 1
    labels[ventricles & (np.abs(z) < 30)] = Tissue.CSF
    return _image(labels, like, seed)


def thighs(like: Volume, seed: int) -> Volume:
    """T2-weighted thighs on the grid of `like`: fat, muscle and the femur of both legs."""
    x, y, z = positions(like, FINE)
    radius = np.hypot(np.abs(x) - 95, y) / (82 + 0.1 * z)
    labels = np.zeros(radius.shape, int)
    for limit, tissue in ((1.0, Tissue.SKIN), (0.97, Tissue.FAT), (0.85, Tissue.MUSCLE)):
        labels[radius < limit] = tissue
    labels[radius < 0.19] = Tissue.CORTEX
    labels[radius < 0.1] = Tissue.FATTY_MARROW
    return _image(labels, like, seed)


def positions(like: Volume, fine: int = 1) -> list[np.ndarray]:
    """Positions along x, y and z in mm from the volume's centre, of `fine`³ samples per voxel."""
    axes = [
        (np.arange(n * fine) + 0.5 - n * fine / 2) * s / fine
        for n, s in zip(like.array.shape, like.spacing, strict=True)
    ]
    return list(np.meshgrid(*axes, indexing="ij"))


def _image(labels: np.ndarray, like: Volume, seed: int) -> Volume:
    rng, scanner = np.random.default_rng(seed), SCANNERS["A"]
    tr, te = rng.uniform(*scanner.tr), rng.uniform(*scanner.te)
    signal = spin_echo(table("t1"), table("t2"), table("pd"), tr=tr, te=te)[labels]
    signal = ndimage.uniform_filter(signal, FINE)[1::FINE, 1::FINE, 1::FINE]
    channels = scanner.noise * rng.normal(size=(2, *signal.shape))
    image = 2500 * np.hypot(signal + channels[0], channels[1])
    return Volume(image.astype(np.float32), like.affine, "a.u.")
