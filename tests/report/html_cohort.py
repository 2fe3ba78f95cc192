"""Two phantom patients as NIfTI files and the report that shows them.

The ambiguous region of a phantom has two CTs for one MR: both are draws from the true p(CT | MR),
so that the draws, their mean and their spread are real ones.
"""

from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from sde_ct.evaluation.findings import findings
from sde_ct.evaluation.protocols import VOLUME, evaluate_case
from sde_ct.evaluation.table import Row
from sde_ct.lab.comparison.lookup import fit_lookup
from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.report.html.report_content import PatientView, Picture, Prediction, Report
from sde_ct.volumes.files import read_volume, write_volume
from sde_ct.volumes.volume import Volume, canonical

GRID = {"shape": (24, 20, 6), "spacing": (16.0, 18.0, 16.0)}
AXES = "PSR"  # of the files: none is where it lies in RAS, and the first and the last run back
NAMES = ("1PA001", '</script><script>document.title="owned"</script>"\'&')
FOLDERS = dict(zip(NAMES, ("a", "b"), strict=True))  # on disk a name has no slash


def write_cohort(folder: Path) -> None:
    """`a` and `b`, each with mr, ct, mask and, by method, prediction, spread and draws."""
    for seed, place in enumerate(FOLDERS.values()):
        one, other = (pelvis_patient(seed, **GRID, bone_like=bone) for bone in (True, False))
        inside = one.mask.array > 0
        lookup = fit_lookup(one.mr.array[inside], one.ct.array[inside])
        hu = np.where(inside, lookup.apply(one.mr.array), -1000.0)
        draws = np.stack([one.ct.array, other.ct.array])
        files = {
            "mr": one.mr,
            "ct": one.ct,
            "mask": one.mask,
            "lookup": one.ct.with_array(hu),
            "exact": one.ct.with_array(draws.mean(0)),
            "exact_std": one.ct.with_array(draws.std(0, ddof=1)),
            "exact_0": one.ct,
            "exact_1": other.ct,
        }
        for name, volume in files.items():
            write_volume(folder / place / f"{name}.nii.gz", turned(volume))


def turned(volume: Volume) -> Volume:
    """The same voxels in the same place, in the order of axes of `AXES`."""
    target = nib.orientations.axcodes2ornt(AXES)
    way = nib.orientations.ornt_transform(nib.orientations.io_orientation(volume.affine), target)
    array = nib.orientations.apply_orientation(volume.array, way)
    affine = volume.affine @ nib.orientations.inv_ornt_aff(way, volume.array.shape)
    return Volume(np.ascontiguousarray(array), affine, volume.unit)


def voxels(folder: Path, name: str, kind: str) -> np.ndarray:
    """What a file holds, as nibabel reads it."""
    return np.asarray(nib.load(folder / FOLDERS[name] / f"{kind}.nii.gz").dataobj)


def view(folder: Path, name: str) -> PatientView:
    def read(kind: str, unit: str = "HU") -> Volume:
        path = folder / FOLDERS[name] / f"{kind}.nii.gz"
        # A spread has no air: to be checked as a CT is.
        return read_volume(path, "a.u." if kind.endswith("_std") else unit)

    methods = {
        "lookup": Prediction(read("lookup")),
        "exact": Prediction(read("exact"), read("exact_std"), (read("exact_0"), read("exact_1"))),
    }
    return PatientView(name, read("mr", "a.u."), read("ct"), read("mask", "mask"), methods)


def report(folder: Path, **changed) -> Report:
    """The report of both patients; `changed` are fields that a test sets."""
    rows = []
    for name in NAMES:
        patient = view(folder, name)
        ct, mask = canonical(patient.ct).array, canonical(patient.mask).array > 0
        for method, said in patient.methods.items():
            case = evaluate_case(VOLUME, ct, canonical(said.mean).array, mask)
            case["nfe"] = None if method == "lookup" else 2
            rows.append(Row(method, name, case))
    whole = Report(
        title="Two <phantoms> & a title",
        rows=rows,
        findings=findings(rows),
        patients={name: partial(view, folder, name) for name in NAMES},
        figures=[Picture("A <figure>", 'alt "text" & <more>', PIXEL)],
        curves={"ddpm": CURVE},
        provenance={"Settings": {"seed": 0, "nested": {"a": [1, 2]}, "names": list(NAMES)}},
        warnings=[f"Look at {NAMES[1]}."],
    )
    return whole._replace(**changed)


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c626001000000ffff03000006000557bfabd40000000049454e44ae426082"
)
CURVE = [
    {"step": 10, "group": "train", "loss": 1.0, "gradient_norm": 2.0},
    {"step": 20, "group": "train", "loss": 0.5},
    {"step": 20, "group": "validation", "loss": 0.625},
]
