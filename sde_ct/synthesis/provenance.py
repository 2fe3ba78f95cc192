"""How a synthetic CT came about, in plain JSON values, without what could name the patient."""

import hashlib
import hmac
from typing import Any

from sde_ct.config import to_dict
from sde_ct.synthesis.trained import Trained
from sde_ct.volumes.dicom.identity import Identity
from sde_ct.volumes.dicom.write import joined
from sde_ct.volumes.volume import Volume, voxel_sha256


def checkpoint(trained: Trained) -> dict[str, Any]:
    """The network, wherever it lies."""
    return {
        "step": trained.step,
        "weights_sha256": trained.sha256(),
        "configuration": to_dict(trained.config),
    }


def image(mr: Volume, format: str, mask: Volume | None) -> dict[str, Any]:
    """The MR that was read; `mask` is None where the body was outlined from it."""
    return {
        "format": format,
        "shape": list(mr.array.shape),
        "spacing_mm": [round(float(s), 6) for s in mr.spacing],
        "affine": [[round(float(v), 6) for v in row] for row in mr.affine],
        "sha256": voxel_sha256(mr.array),
        "mask_sha256": voxel_sha256(mask.array) if mask else None,
    }


def series(identity: Identity, mr: Volume) -> str:
    """What identifies patient, study, frame and slices that CT series join, hex.

    Salted with the voxels, so that no list of hashed names tells whose it is.
    """
    salt = voxel_sha256(mr.array).encode()
    return hmac.new(salt, joined(identity).encode(), hashlib.sha256).hexdigest()
