"""Warnings about an MR whose header differs from those of the training."""

from collections.abc import Sequence

from sde_ct.data import acquisition
from sde_ct.data.seen import position_warning
from sde_ct.synthesis.trained import Trained
from sde_ct.volumes.dicom.series import Series


def header_warnings(networks: Sequence[Trained], opened: Series) -> tuple[str, ...]:
    """How the patient's position and the acquisition differ from those of the training."""
    trained = [network.data.get("seen") for network in networks]
    said = [position_warning(seen, opened.position) for seen in trained]
    facts = acquisition.facts(opened)
    said += [text for seen in trained for text in acquisition.warnings(seen, facts)]
    return tuple(dict.fromkeys(text for text in said if text))
