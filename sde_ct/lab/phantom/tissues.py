"""The properties that determine how each tissue of the phantom looks in MR and in CT.

Relaxation times are approximate, rounded values for 3 T. Fat, muscle, marrow and prostate follow
de Bazelaire et al., Radiology 230:652 (2004); cartilage and blood follow Stanisz et al., Magn Reson
Med 54:507 (2005). Studies differ (see the review of Bojorquez et al., Magn Reson Imaging 35:69,
2017): the T2 of muscle is about 29 and 50 ms in these two, and a value between them is used here.
The T2 of fat is longer than its spin-echo value (about 68 ms), because fast spin echo makes fat
bright. The values of the other tissues, all proton densities and all textures are plausible and not
measured.
"""

from enum import IntEnum

import numpy as np
from jaxtyping import Float


class Tissue(IntEnum):
    """The labels of the phantom, with each tissue's properties. AIR is outside the body only."""

    t1: float  # relaxation times, ms
    t2: float
    pd: float  # relative proton density
    hu: float  # mean CT number
    hu_texture: float  # standard deviation, HU
    mr_texture: float  # standard deviation, share of the signal

    def __new__(cls, label: int, *properties: float) -> "Tissue":
        tissue = int.__new__(cls, label)
        tissue._value_ = label
        names = ("t1", "t2", "pd", "hu", "hu_texture", "mr_texture")
        for name, value in zip(names, properties, strict=True):
            setattr(tissue, name, value)
        return tissue

    # label, t1, t2, pd, hu, hu_texture, mr_texture
    AIR = 0, 1000, 1, 0.0, -1000, 0, 0
    SKIN = 1, 1000, 30, 0.75, 5, 12, 0.1
    FAT = 2, 382, 90, 0.9, -111, 4, 0.02
    MUSCLE = 3, 1100, 38, 0.8, 62, 5, 0.04
    CORTEX = 4, 1000, 0.5, 0.2, 1250, 90, 0
    CANCELLOUS = 5, 586, 60, 0.8, 200, 55, 0.12  # hip bone and sacrum: red and fatty marrow mixed
    FATTY_MARROW = 6, 400, 85, 0.85, 40, 55, 0.1  # femoral neck and trochanter
    FEMORAL_HEAD = 7, 400, 85, 0.8, 290, 55, 0.1  # dense trabeculae in fatty marrow
    CARTILAGE = 8, 1168, 35, 0.75, 90, 12, 0.1
    URINE = 9, 3500, 800, 1.0, 5, 3, 0.01
    WALL = 10, 1200, 50, 0.8, 38, 6, 0.1  # of bladder, rectum and bowel
    PROSTATE_CENTRAL = 11, 1500, 70, 0.85, 40, 6, 0.15
    PROSTATE_PERIPHERAL = 12, 1600, 130, 0.9, 32, 5, 0.1
    SEMINAL_VESICLE = 13, 1800, 200, 0.9, 22, 6, 0.2
    GAS = 14, 1000, 1, 0.0, -950, 0, 0
    STOOL = 15, 900, 60, 0.6, 22, 25, 0.25
    ARTERY = 16, 1932, 275, 0.05, 46, 4, 0  # flow void
    VEIN = 17, 1932, 275, 0.35, 46, 4, 0.1
    CSF = 18, 4000, 1500, 1.0, 8, 3, 0
    INSERT = 19, 1000, 1, 0.0, 0, 0, 0  # the ambiguous region, whose HU are one of `INSERT_HU`


INSERT_HU = {True: 800.0, False: -800.0}  # bone-like, air-like
# Muscle contains fat, and fat contains strands of lean tissue.
ADMIXTURE = {Tissue.MUSCLE: Tissue.FAT, Tissue.FAT: Tissue.MUSCLE}


def table(field: str) -> Float[np.ndarray, " tissues"]:
    """One property of every tissue, indexed by label."""
    return np.array([getattr(tissue, field) for tissue in Tissue], dtype=np.float32)


def spin_echo(t1, t2, pd, *, tr: float, te: float):
    """Spin-echo signal S = PD (1 - exp(-TR/T1)) exp(-TE/T2); times in ms, S in units of PD."""
    return pd * (1 - np.exp(-tr / t1)) * np.exp(-te / t2)
