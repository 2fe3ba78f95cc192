"""One patient whose files have any format that `volumes/files.py` reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sde_ct.data import acquisition
from sde_ct.data.contrasts import SINGLE, file_name
from sde_ct.data.sources.patient import Patient, Source, Unusable, stamp_of
from sde_ct.storage.digest import sha256
from sde_ct.volumes.dicom.choice import Choice
from sde_ct.volumes.dicom.patient_names import secrets_in, withhold
from sde_ct.volumes.dicom.series import Series, require_same_frame
from sde_ct.volumes.files import files_of, open_source, read_mask, read_mr, read_volume

KINDS = ("mr", "ct", "mask")
Files = Mapping[str, Path | None]  # files of one patient, by kind


@dataclass(frozen=True)
class Case:
    """The files of one patient; if `mask` is None, the body outline is computed."""

    id: str
    mr: Path  # a file, or a folder that holds one DICOM series
    ct: Path
    mask: Path | None
    contrasts: tuple[str, ...] = SINGLE  # the names of the MR contrasts; the first is `mr`
    further: tuple[Path, ...] = ()  # the images of the other contrasts
    choices: tuple[Choice, ...] = ()  # values of DICOM tags that select the MR's images

    @property
    def files(self) -> dict[str, Path | None]:
        others = zip(map(file_name, self.contrasts[1:]), self.further, strict=True)
        return {kind: getattr(self, kind) for kind in KINDS} | dict(others)

    def read(self) -> Patient:
        """Read the volumes, each on its own grid.

        Raises InputError as `read_volume` does, or if DICOM contrasts have different frames of
        reference.
        """
        sources = {
            kind: open_source(path, self.choices if kind == "mr" else ())
            for kind, path in self.files.items()
            if path
        }
        warnings = {k: s.warnings for k, s in sources.items() if isinstance(s, Series)}
        mr = sources["mr"]
        for contrast in (sources[file_name(name)] for name in self.contrasts[1:]):
            if isinstance(contrast, Series) and isinstance(mr, Series):
                require_same_frame(contrast, mr)
        return Patient(
            mr=read_mr(mr),
            ct=read_volume(sources["ct"], "HU"),
            mask=read_mask(sources["mask"]) if self.mask else None,
            files=self.files,
            further={name: read_mr(sources[file_name(name)]) for name in self.contrasts[1:]},
            facts={
                "sha256": {kind: sha256(*files_of(s)) for kind, s in sources.items()},
                **({"contrasts": list(self.contrasts)} if self.further else {}),
                **(
                    {"patient_position": mr.position, "acquisition": acquisition.facts(mr)}
                    if isinstance(mr, Series)
                    else {}
                ),
            },
            warnings=tuple(f"{k.upper()}: {w}" for k, some in warnings.items() for w in some),
        )

    def stamp(self) -> str:
        """A text that changes when a file, the name of a contrast or a choice changes."""
        names = f" {' '.join(self.contrasts)}" if self.further else ""
        return stamp_of(self.files.values()) + names + "".join(f" {k}={v}" for k, v in self.choices)

    def clean(self, text: str) -> str:
        """A text without the names and IDs in DICOM files, except the name of the case."""
        paths = [path for path in self.files.values() if path]
        return withhold(text, secrets_in({p if p.is_dir() else p.parent for p in paths}), self.id)


def case_of(
    name: str, files: Files, contrasts: tuple[str, ...], further: Sequence[Path | None]
) -> Source:
    """The case of these files and further contrasts, or the reason why it is unusable."""
    mr, ct = files["mr"], files["ct"]
    if mr is None or ct is None:
        return Unusable(name, f"{name} has no {'MR' if mr is None else 'CT'}: add the file")
    if mr == ct:
        return Unusable(name, f"{mr} matches the patterns of both MR and CT: fix the patterns")
    role = {mr: contrasts[0], ct: "CT"}
    for contrast, path in zip(contrasts[1:], further, strict=True):
        if path is None:
            return Unusable(name, f"{name} has no {contrast}: add the file")
        if path in role:
            both = f"{role[path]} and {contrast}"
            return Unusable(name, f"{path} matches the patterns of both {both}: fix the patterns")
        role[path] = contrast
    return Case(name, mr, ct, files["mask"], contrasts, tuple(path for path in further if path))
