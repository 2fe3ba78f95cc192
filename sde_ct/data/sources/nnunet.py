"""nnU-Net's raw layout for synthesis, with MR and CT as channels or the CT as label."""

import re
from pathlib import Path

from sde_ct.data.contrasts import SINGLE, file_name
from sde_ct.errors import InputError
from sde_ct.storage.whole import read_json

# For each role: the pattern of its channel's name, and its folder if there is no such channel.
ROLES = {
    "mr": (re.compile(r"\b(mr|mri|t1w?|t2w?)\b", re.IGNORECASE), None),
    "ct": (re.compile(r"\bs?ct\b", re.IGNORECASE), "labelsTr"),
    "mask": (re.compile(r"\b(mask|body)\b", re.IGNORECASE), "masksTr"),
}


def find(folder: Path) -> tuple[tuple[str, ...], dict[str, dict[str, Path | None]]]:
    """The names of the MR contrasts, and the files of every patient (None for absent ones).

    The keys of the files are "mr", "ct", "mask" and, for further contrasts, those of `file_name`.

    `dataset.json` names the channels (`channel_names`, or `modality` in version 1): X_0000.nii.gz
    in `imagesTr` is channel 0 of patient X, and so on. The MR is the channel with the name of an
    MR, or the only channel. Several channels with such names are the contrasts, in their order. The
    CT is the channel with the name of a CT or else `labelsTr/X`, and the mask is the channel with
    the name of a mask or else `masksTr/X`.

    Raises:
      InputError: there is no dataset.json or no image, the channels' names do not determine the MR,
        the CT or the mask, or two MR contrasts have the same name.
    """
    path = folder / "dataset.json"
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the folder that holds it and imagesTr")
    try:
        values = read_json(path)
        ending = str(values.get("file_ending", ".nii.gz"))
        channels = values.get("channel_names") or values.get("modality") or {"0": "MR"}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged: write it again") from error
    roles, contrasts = _roles(channels, path)
    images = folder / "imagesTr"
    pattern = re.compile(rf"([^.].*)_\d{{4}}{re.escape(ending)}")
    names = sorted({m[1] for p in images.glob(f"*{ending}") if (m := pattern.fullmatch(p.name))})
    if not names:
        raise InputError(f"{images} holds no X_0000{ending}: check the folder and dataset.json")
    found: dict[str, dict[str, Path | None]] = {name: {} for name in names}
    for name, files in found.items():
        for kind, (_, beside) in ROLES.items():
            channel = images / f"{name}_{roles.get(kind, 0):04d}{ending}"
            file = channel if kind in roles else folder / str(beside) / f"{name}{ending}"
            files[kind] = file if file.is_file() else None
        for contrast, number in list(contrasts.items())[1:]:
            file = images / f"{name}_{number:04d}{ending}"
            files[file_name(contrast)] = file if file.is_file() else None
    return tuple(contrasts), found


def _roles(channels: object, path: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Two tables of channel numbers: by role (mr, ct or mask), and by MR contrast.

    A role is absent if no channel has its name.
    """
    if not isinstance(channels, dict):
        raise InputError(
            f'{path}: the channels are not a JSON object such as {{"0": "MR"}}: correct them'
        )
    try:
        names = {int(number): str(name).replace("_", " ") for number, name in channels.items()}
    except ValueError:
        raise InputError(f"{path}: channel names must have numbers as keys: fix them") from None
    roles: dict[str, int] = {}
    contrasts: dict[str, int] = {}
    for kind, (pattern, _) in ROLES.items():
        named = [number for number, name in names.items() if pattern.search(name)]
        if kind == "mr" and len(named) > 1:
            contrasts = {re.sub(r"\W+", "_", names[number]): number for number in sorted(named)}
            if len(contrasts) < len(named):
                raise InputError(f"{path}: two MR channels have the same name: rename one")
            named = sorted(named)[:1]
        if len(named) > 1:
            raise InputError(
                f"{path}: {len(named)} channels have the name of a {kind.upper()}: keep one"
            )
        if named:
            roles[kind] = named[0]
    if "mr" not in roles and len(names) == 1 and "ct" not in roles:
        roles["mr"] = next(iter(names))
    if "mr" not in roles:
        raise InputError(f"{path}: no channel has the name MR: add it to channel_names")
    return roles, contrasts or dict.fromkeys(SINGLE, roles["mr"])
