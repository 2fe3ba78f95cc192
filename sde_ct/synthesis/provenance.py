"""Record how a synthetic CT was made, as plain JSON values that do not name the patient."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from sde_ct.config_record import to_dict
from sde_ct.synthesis.trained import Trained
from sde_ct.volumes.dicom.identity import Identity
from sde_ct.volumes.dicom.write import joined
from sde_ct.volumes.volume import Volume, voxel_sha256


def checkpoint(trained: Trained) -> dict[str, Any]:
    """The step, weights and configuration of a network, independent of its path."""
    return {**trained.identity(), "configuration": to_dict(trained.config)}


def image(
    mr: Volume, format: str, mask: Volume | None, further: Mapping[str, Volume]
) -> dict[str, Any]:
    """The format, grid and hash of the MR, and the hashes of the mask and further contrasts."""
    hashes = {name: voxel_sha256(volume.array) for name, volume in further.items()}
    return {
        "format": format,
        "shape": list(mr.array.shape),
        "spacing_mm": [round(float(s), 6) for s in mr.spacing],
        "affine": [[round(float(v), 6) for v in row] for row in mr.affine],
        "sha256": voxel_sha256(mr.array),
        "mask_sha256": voxel_sha256(mask.array) if mask else None,
        **({"contrasts_sha256": hashes} if further else {}),
    }


def notes(sampler: str | None, is_random: bool, networks: int) -> list[str]:
    """A note on a sampler without draws, because its result does not show the ambiguity."""
    if sampler is None or is_random:
        return []
    if networks > 1:
        return [
            "The spread is the disagreement of the networks' means. The ambiguity that each "
            "network leaves is not in it."
        ]
    return ["The CT is the mean without draws. It has no spread that shows where it is uncertain."]


def series(identity: Identity, mr: Volume) -> str:
    """A hash, in hex, of the patient, study, frame and slices that the CT series join.

    The hash is salted with the voxels, so that a list of hashed names cannot reveal the patient.
    """
    salt = voxel_sha256(mr.array).encode()
    return hmac.new(salt, joined(identity).encode(), hashlib.sha256).hexdigest()
