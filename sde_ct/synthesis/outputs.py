"""Determine and write the files of a synthetic CT."""

from collections.abc import Sequence
from pathlib import Path

from sde_ct.synthesis.synthetic_ct import SyntheticCT
from sde_ct.volumes.dicom.axial import on_axial_slices
from sde_ct.volumes.dicom.contents import AXIAL, CALIBRATED, CT, MAPS, with_remark
from sde_ct.volumes.dicom.identity import Identity
from sde_ct.volumes.dicom.parametric_map import write_map
from sde_ct.volumes.dicom.write import write_ct_series
from sde_ct.volumes.files import write_volume

# The folders of outputs, each with the field of `SyntheticCT` that is written to it in HU.
KINDS = {
    "sct": "mean",
    "sct_std": "spread",
    "sct_std_within": "within",
    "sct_std_between": "between",
    "sct_lower": "lower",
    "sct_upper": "upper",
}


def kinds(draws: int, networks: int, intervals: bool) -> list[str]:
    """The `KINDS` for these numbers of draws and networks; `intervals` adds calibrated bounds."""
    wanted = {
        "sct": True,
        "sct_std": draws > 1,
        "sct_std_within": draws > networks > 1,
        "sct_std_between": networks > 1,
        "sct_lower": intervals,
        "sct_upper": intervals,
    }
    return [kind for kind in KINDS if wanted[kind]]


def paths(name: str, kinds: Sequence[str], draws: int, dicom: bool, axial: bool) -> tuple[str, ...]:
    """The paths that `write` creates with `draws` single draws; a CT series is a folder."""
    return (
        *(f"{kind}/{name}.nii.gz" for kind in kinds),
        *(_draw(name, number) for number in range(draws)),
        *(f"dicom/{name}/{kind}{'.dcm' * (kind in MAPS)}" for kind in kinds if dicom),
        *([f"dicom/{name}/sct_axial"] if axial else []),
    )


def write(
    folder: Path,
    name: str,
    ct: SyntheticCT,
    each: bool,
    joined: Identity | None,
    axial: bool,
    remark: tuple[str, str] = ("", ""),
) -> None:
    """Write a synthetic CT and its maps as int16 HU; the maps in DICOM are float32.

    Args:
      folder: the folder of all outputs.
      name: the volume's name.
      ct: the synthetic CT.
      each: whether every draw is written.
      joined: the identity for the CT series and maps, which join its study; None writes no DICOM.
      axial: whether a CT series in straight axial slices is written too.
      remark: a few words and a sentence that are added to the descriptions of the CT series.

    Raises:
      InputError: as in `write_ct_series`.
    """
    for kind, field in KINDS.items():
        if (volume := getattr(ct, field)) is not None:
            write_volume(folder / kind / f"{name}.nii.gz", volume)
    for number, draw in enumerate(ct.draws if each else ()):
        write_volume(folder / _draw(name, number), draw)
    if joined is None:
        return
    place = folder / "dicom" / name
    series = write_ct_series(place / "sct", ct.mean, joined, with_remark(CT, *remark))
    if axial:
        straight = on_axial_slices(ct.mean)
        write_ct_series(
            place / "sct_axial", straight, joined.at(straight.affine), with_remark(AXIAL, *remark)
        )
    for kind, labels in MAPS.items():
        if (volume := getattr(ct, KINDS[kind])) is not None:
            if kind == "sct_std" and ct.lower is not None:
                labels = CALIBRATED
            write_map(place / f"{kind}.dcm", volume, joined, series, labels)


def _draw(name: str, number: int) -> str:
    return f"draws/{name}_{number:02d}.nii.gz"
