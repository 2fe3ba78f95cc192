"""Contours of the phantom's organs by several observers."""

import numpy as np
from pydicom.dataset import Dataset
from skimage.measure import find_contours

from sde_ct.lab.phantom.dicom import Invented, Polygon, structures
from sde_ct.lab.phantom.tissues import Tissue
from sde_ct.volumes.volume import Volume

ORGANS = {
    "Bladder": (Tissue.URINE,),
    "Femoral heads": (Tissue.FEMORAL_HEAD,),
    "Prostate": (Tissue.PROSTATE_CENTRAL, Tissue.PROSTATE_PERIPHERAL),
    "Seminal vesicles": (Tissue.SEMINAL_VESICLE,),
}
OBSERVERS = 5
THINNED = 3  # observers draw every third point of a long consensus contour


def delineations(owner: Invented, labels: Volume, rng: np.random.Generator) -> list[Dataset]:
    """Structure sets of the observers, their consensus and STAPLE, from a volume of `Tissue`s."""
    bodies = {"External": labels.array != Tissue.AIR}
    bodies |= {organ: np.isin(labels.array, tissues) for organ, tissues in ORGANS.items()}
    true = {name: contours(labels.with_array(mask)) for name, mask in bodies.items()}
    drawn: dict[str, list[Polygon]] = {}
    for observer in range(1, OBSERVERS + 1):
        share = 1 + rng.normal(0, 0.01)  # nobody draws exactly the same size
        drawn |= {f"{name}_obs{observer}": _redrawn(p, share) for name, p in true.items()}
    sets = {
        "Observers": drawn,
        "Consensus": true,
        "STAPLE": {name: _redrawn(p, 1.005) for name, p in true.items()},
    }
    outer = {n: "EXTERNAL" for rois in sets.values() for n in rois if n.startswith("External")}
    return [structures(owner, series, "MR", rois, outer) for series, rois in sets.items()]


def contours(mask: Volume) -> list[Polygon]:
    """Outlines of a mask in every slice, in RAS mm, half-way between voxels inside and outside."""
    outlines = []
    for k in range(mask.array.shape[2]):
        plane = np.pad(mask.array[..., k].astype(np.float32), 1)
        for line in find_contours(plane, 0.5):  # its last point repeats the first
            index = np.column_stack([line[:-1] - 1, np.full(len(line) - 1, k)])
            outlines.append(index @ mask.affine[:3, :3].T + mask.affine[:3, 3])
    return outlines


def _redrawn(polygons: list[Polygon], share: float) -> list[Polygon]:
    """The outlines with fewer points, scaled about their centres by `share`."""
    thinned = [p[::THINNED] if len(p) > 10 * THINNED else p for p in polygons]
    return [p.mean(axis=0) + share * (p - p.mean(axis=0)) for p in thinned]
