"""The look of each tissue of the phantom in T2-weighted MR and in CT.

Relaxation times are approximate, for 3 T, and rounded. Fat, muscle, marrow and prostate follow
de Bazelaire et al., Radiology 230:652 (2004); cartilage and blood follow Stanisz et al., Magn Reson
Med 54:507 (2005). Studies differ (the T2 of muscle is about 29 and 50 ms in these two; see the
review of Bojorquez et al., Magn Reson Imaging 35:69, 2017), so muscle takes a value between them.
Fat has a longer T2 than its spin-echo value (about 68 ms), because the echo trains of fast spin
echo make it bright. The other tissues, all proton densities and all textures are plausible values,
not measurements.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Tissue(IntEnum):
    """The labels of the phantom; AIR is only outside the body."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    CORTEX = 4
    CANCELLOUS = 5  # hip bone and sacrum: red and fatty marrow mixed
    FATTY_MARROW = 6  # femoral neck and trochanter
    FEMORAL_HEAD = 7  # dense trabeculae in fatty marrow
    CARTILAGE = 8
    URINE = 9
    WALL = 10  # of bladder, rectum and bowel
    PROSTATE_CENTRAL = 11
    PROSTATE_PERIPHERAL = 12
    SEMINAL_VESICLE = 13
    GAS = 14
    STOOL = 15
    ARTERY = 16  # flow void
    VEIN = 17
    CSF = 18
    INSERT = 19  # the ambiguous region: no MR signal, and one of two CT values


class Properties(NamedTuple):
    """One tissue: relaxation times in ms, relative proton density, CT number and textures."""

    t1: float
    t2: float
    pd: float
    hu: float
    hu_texture: float  # standard deviation, HU
    mr_texture: float  # standard deviation, share of the signal


PROPERTIES = {
    Tissue.AIR: Properties(1000, 1, 0.0, -1000, 0, 0),
    Tissue.SKIN: Properties(1000, 30, 0.75, 5, 12, 0.1),
    Tissue.FAT: Properties(382, 90, 0.9, -111, 4, 0.02),
    Tissue.MUSCLE: Properties(1100, 38, 0.8, 62, 5, 0.04),
    Tissue.CORTEX: Properties(1000, 0.5, 0.2, 1250, 90, 0),
    Tissue.CANCELLOUS: Properties(586, 60, 0.8, 200, 55, 0.12),
    Tissue.FATTY_MARROW: Properties(400, 85, 0.85, 40, 55, 0.1),
    Tissue.FEMORAL_HEAD: Properties(400, 85, 0.8, 290, 55, 0.1),
    Tissue.CARTILAGE: Properties(1168, 35, 0.75, 90, 12, 0.1),
    Tissue.URINE: Properties(3500, 800, 1.0, 5, 3, 0.01),
    Tissue.WALL: Properties(1200, 50, 0.8, 38, 6, 0.1),
    Tissue.PROSTATE_CENTRAL: Properties(1500, 70, 0.85, 40, 6, 0.15),
    Tissue.PROSTATE_PERIPHERAL: Properties(1600, 130, 0.9, 32, 5, 0.1),
    Tissue.SEMINAL_VESICLE: Properties(1800, 200, 0.9, 22, 6, 0.2),
    Tissue.GAS: Properties(1000, 1, 0.0, -950, 0, 0),
    Tissue.STOOL: Properties(900, 60, 0.6, 22, 25, 0.25),
    Tissue.ARTERY: Properties(1932, 275, 0.05, 46, 4, 0),
    Tissue.VEIN: Properties(1932, 275, 0.35, 46, 4, 0.1),
    Tissue.CSF: Properties(4000, 1500, 1.0, 8, 3, 0),
    Tissue.INSERT: Properties(1000, 1, 0.0, 0, 0, 0),  # HU: see INSERT_HU
}
INSERT_HU = {True: 800.0, False: -800.0}  # bone-like, air-like
# Fat runs through muscle, and strands of lean tissue through fat.
ADMIXTURE = {Tissue.MUSCLE: Tissue.FAT, Tissue.FAT: Tissue.MUSCLE}


def table(field: str) -> Float[np.ndarray, " tissues"]:
    """One property of every tissue, indexed by label."""
    return np.array([getattr(PROPERTIES[t], field) for t in Tissue], dtype=np.float32)


def spin_echo(t1, t2, pd, *, tr: float, te: float):
    """Spin-echo signal S = PD (1 - exp(-TR/T1)) exp(-TE/T2); times in ms, S in units of PD."""
    return pd * (1 - np.exp(-tr / t1)) * np.exp(-te / t2)
