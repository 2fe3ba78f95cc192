"""What is written of a synthetic CT, and where."""

from pathlib import Path

from sde_ct.synthesis.synthesizer import SyntheticCT
from sde_ct.volumes.dicom.contents import Content
from sde_ct.volumes.dicom.identity import Identity
from sde_ct.volumes.dicom.write import write_ct_series
from sde_ct.volumes.files import write_volume

# Folder: the volume of a `SyntheticCT` in it, HU.
KINDS = {
    "sct": "mean",
    "sct_std": "spread",
    "sct_std_within": "within",
    "sct_std_between": "between",
    "sct_lower": "lower",
    "sct_upper": "upper",
}
SERIES = ("sct", "sct_std")  # those that are written as DICOM too


def outputs(
    name: str,
    *,
    draws: int,
    networks: int = 1,
    intervals: bool = False,
    each: bool = False,
    dicom: bool = False,
) -> tuple[str, ...]:
    """The paths that `write` will have written: files, and folders of DICOM slices.

    Args:
      draws: of all networks.
      networks: more than 1 give `between` and, with several draws each, `within`.
      intervals: bounds too.
      each: every draw too.
      dicom: CT series too.
    """
    wanted = {
        "sct": True,
        "sct_std": draws > 1,
        "sct_std_within": draws > networks > 1,
        "sct_std_between": networks > 1,
        "sct_lower": intervals,
        "sct_upper": intervals,
    }
    paths = [f"{kind}/{name}.nii.gz" for kind in KINDS if wanted[kind]]
    paths += [_draw(name, n) for n in range(draws if each else 0)]
    paths += [f"dicom/{name}/{kind}" for kind in SERIES if dicom and wanted[kind]]
    return tuple(paths)


def write(
    folder: Path, name: str, ct: SyntheticCT, *, each: bool = False, dicom: Identity | None = None
) -> None:
    """Write mean, spread and what else there is, int16 HU; `each` draw; series that join `dicom`'s.

    Raises:
      InputError: as `write_ct_series`.
    """
    for kind, field in KINDS.items():
        if (volume := getattr(ct, field)) is not None:
            write_volume(folder / kind / f"{name}.nii.gz", volume)
    for n, draw in enumerate(ct.draws if each else ()):
        write_volume(folder / _draw(name, n), draw)
    if dicom is None:
        return
    series = folder / "dicom" / name
    write_ct_series(series / "sct", ct.mean, dicom)
    if ct.spread is not None:
        content: Content = "spread" if ct.lower is None else "calibrated spread"
        write_ct_series(series / "sct_std", ct.spread, dicom, content=content)


def _draw(name: str, number: int) -> str:
    return f"draws/{name}_{number:02d}.nii.gz"
