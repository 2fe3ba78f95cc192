"""Group MR volumes that are the contrasts of one patient."""

import re
from collections.abc import Sequence
from pathlib import Path

from sde_ct.errors import InputError
from sde_ct.synthesis.sources import Source, find_sources, require_outside, volumes_of
from sde_ct.volumes.dicom.choice import Choice
from sde_ct.volumes.formats import image_stem

CHANNEL = re.compile(r"(.+)_\d{4}")  # names of a patient's images in nnU-Net


def find_contrasts(
    arguments: Sequence[str],
    names: Sequence[str],
    choices: Sequence[Choice] = (),
    output: Path | None = None,
) -> list[Source]:
    """The volumes that the arguments name, each with its other contrasts.

    A network of one contrast takes any number of arguments, see `find_sources`. A network of
    several contrasts takes one argument for each: NAME=PATH, or paths in the order of `names`. If
    arguments name several volumes, all must name the same patients. A patient is a folder, or X in
    nnU-Net's X_0000.nii.gz.

    Raises:
      InputError: the arguments do not name every contrast once, a patient lacks a contrast, images
        or names of patients are ambiguous, several contrasts come with `choices`, `output` lies in
        a folder that the arguments name, or as `find_sources`.
    """
    places = arguments if len(names) == 1 else _in_order(arguments, names)
    if output:
        require_outside(places, output)
    if len(names) == 1:
        return find_sources(arguments, choices)
    if choices:
        raise InputError("--choose is for a network of one MR contrast: leave it out")
    found = [volumes_of([place]) for place in places]
    if all(len(sources) == 1 for sources in found):
        (first,), *others = found
        return [_joined(first, [source for (source,) in others], first.name)]
    patients = [{_patient(source.path): source for source in sources} for sources in found]
    for name, sources, by_patient in zip(names, found, patients, strict=True):
        if len(by_patient) < len(sources):
            raise InputError(
                f"--mr={name}=…: a folder holds several such images: name one image per patient"
            )
    for place in dict.fromkeys(place for by_patient in patients for place in by_patient):
        for name, by_patient in zip(names, patients, strict=True):
            if place not in by_patient:
                raise InputError(f"{place} has no {name}, which the network needs: add the image")
    if len({place.name for place in patients[0]}) < len(patients[0]):
        raise InputError("Two patients' folders have the same name: rename one of them")
    return [
        _joined(source, [by_patient[place] for by_patient in patients[1:]], place.name)
        for place, source in patients[0].items()
    ]


def _in_order(arguments: Sequence[str], names: Sequence[str]) -> list[str]:
    """The paths in the order of the contrasts' names."""
    given = [re.fullmatch(rf"({'|'.join(map(re.escape, names))})=(.+)", a) for a in arguments]
    if len(arguments) == len(names) and not any(given):
        return list(arguments)
    paths = {match[1]: match[2] for match in given if match}
    if not all(given) or len(arguments) != len(names) or len(paths) != len(names):
        raise InputError(
            f"The network needs {len(names)} MR contrasts: give "
            f"{' '.join(f'--mr={name}=PATH' for name in names)}, each once."
        )
    return [paths[name] for name in names]


def _joined(first: Source, others: Sequence[Source], name: str) -> Source:
    """The first contrast together with the others; the name loses nnU-Net's channel number."""
    channel = CHANNEL.fullmatch(name)
    further = tuple(source.path for source in others)
    paths = [first.path, *further]
    if repeated := [path for path in further if paths.count(path) > 1]:
        raise InputError(
            f"{repeated[0]} is given as two contrasts of one patient: give another image for one "
            "of them"
        )
    return first._replace(name=channel[1] if channel else name, further=further)


def _patient(path: Path) -> Path:
    """The part of the path that all contrasts of one patient share."""
    channel = CHANNEL.fullmatch(image_stem(path) or "")
    return path.parent / channel[1] if channel else path.parent
