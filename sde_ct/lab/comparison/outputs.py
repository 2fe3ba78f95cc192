"""The synthetic CTs as files and as pictures."""

from pathlib import Path

import numpy as np

from sde_ct.evaluation.table import SAMPLERS
from sde_ct.lab.comparison.patients import Patient
from sde_ct.lab.comparison.synthesis import Results
from sde_ct.report import figures
from sde_ct.volumes.files import write_volume
from sde_ct.volumes.volume import Volume, canonical


def write_volumes(results: Results, output: Path) -> None:
    """`sct/METHOD/PATIENT.nii.gz` and `sct_std/…`: what each method says, on the MR's grid, HU."""
    for name, by_patient in results.items():
        for patient, result in by_patient.items():
            volumes = {"sct": {name: result.draws[0]}, "sct_std": {}}
            if result.spread is not None:
                volumes["sct"][f"{name}-M"] = result.mean
                volumes["sct_std"][f"{name}-M"] = result.spread
            for kind, by_name in volumes.items():
                for method, volume in by_name.items():
                    path = output / kind / method / f"{patient}.nii.gz"
                    write_volume(path, volume, overwrite=True)


def pictures(results: Results, patient: Patient, output: Path) -> None:
    """`comparison` and `uncertainty` of one patient's middle slice, as PNG and PDF."""
    z = patient.mr.array.shape[2] // 2

    def cut(volume: Volume) -> np.ndarray:
        return canonical(volume).array[..., z].astype(np.float32)

    mr, ct, mask = cut(patient.mr), cut(patient.ct), cut(patient.mask) > 0
    shown = {name: cut(by[patient.id].draws[0]) for name, by in results.items()}
    shown |= {f"{name}-M": cut(results[name][patient.id].mean) for name in SAMPLERS}
    spacing = tuple(canonical(patient.mr).spacing[:2])
    figures.save(figures.comparison(mr, ct, shown, mask, spacing=spacing), output / "comparison")
    maps = {
        name: (cut(result.spread), np.abs(cut(result.mean) - ct))
        for name in SAMPLERS
        if (result := results[name][patient.id]).spread is not None
    }
    if maps:
        figures.save(figures.uncertainty(maps, ct, mask, spacing=spacing), output / "uncertainty")
