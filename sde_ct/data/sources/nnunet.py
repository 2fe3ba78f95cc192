"""nnU-Net's raw layout, as used for synthesis: MR and CT as channels, or the CT as label."""

import json
import re
from pathlib import Path
from typing import Any

from sde_ct.errors import InputError

MR = re.compile(r"\b(mr|mri|t1w?|t2w?)\b", re.IGNORECASE)
CT = re.compile(r"\bs?ct\b", re.IGNORECASE)
MASK = re.compile(r"\b(mask|body)\b", re.IGNORECASE)

Files = dict[str, Path | None]


def find(folder: Path) -> dict[str, Files]:
    """The files "mr", "ct" and "mask" of every patient by name; None where one is absent.

    `dataset.json` names the channels (`channel_names`, or `modality` in version 1): X_0000.nii.gz
    in `imagesTr` is channel 0 of patient X, and so on. The MR is the channel named as such, the
    only one where there is one. The CT is the channel named CT or else `labelsTr/X`; the mask the
    channel named so or else `masksTr/X`.

    Raises:
      InputError: no dataset.json, no imagesTr, or the channels do not tell which is the MR.
    """
    description = _description(folder)
    ending = str(description.get("file_ending", ".nii.gz"))
    channels = description.get("channel_names") or description.get("modality") or {"0": "MR"}
    if not isinstance(channels, dict):
        raise InputError(f"{folder / 'dataset.json'}: channel_names is no table: write it anew")
    roles = _roles(channels, folder)
    images = folder / "imagesTr"
    names = sorted(
        match[1]
        for path in images.glob(f"*{ending}")
        if (match := re.fullmatch(rf"([^.].*)_\d{{4}}{re.escape(ending)}", path.name))
    )
    if not names:
        raise InputError(f"{images} holds no X_0000{ending}: check the folder and dataset.json")
    return {name: _files(folder, name, ending, roles) for name in dict.fromkeys(names)}


def _description(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the folder that holds it and imagesTr")
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged: write it anew") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} is damaged: write it anew")
    return values


def _roles(channels: dict[str, Any], folder: Path) -> dict[str, int]:
    """{"mr": channel, …} as far as the names tell."""
    try:
        names = {int(number): str(name).replace("_", " ") for number, name in channels.items()}
    except ValueError:
        raise InputError(f"{folder / 'dataset.json'}: channels go by number: mend it") from None
    roles: dict[str, int] = {}
    for kind, pattern in (("mr", MR), ("ct", CT), ("mask", MASK)):
        named = [number for number, name in names.items() if pattern.search(name)]
        if len(named) > 1:
            raise InputError(
                f"{folder / 'dataset.json'}: {len(named)} channels are named as {kind.upper()}: "
                "keep one of them"
            )
        if named:
            roles[kind] = named[0]
    if "mr" not in roles and len(names) == 1 and "ct" not in roles:
        roles["mr"] = next(iter(names))
    if "mr" not in roles:
        raise InputError(
            f"{folder / 'dataset.json'}: no channel is named MR: name it so in channel_names"
        )
    return roles


def _files(folder: Path, name: str, ending: str, roles: dict[str, int]) -> Files:
    found: Files = {}
    for kind, beside in (("mr", None), ("ct", "labelsTr"), ("mask", "masksTr")):
        if kind in roles:
            path = folder / "imagesTr" / f"{name}_{roles[kind]:04d}{ending}"
        else:
            path = folder / str(beside) / f"{name}{ending}"
        found[kind] = path if path.is_file() else None
    return found
