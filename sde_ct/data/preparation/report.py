"""`report.json` of a preparation: for a person, beside the index that programs read."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sde_ct.storage.versions import versions
from sde_ct.storage.whole import write_json

REPORT = "report.json"
# What programs read in the index and people need not read in the report.
OF_PROGRAMS = {"sha256", "mr_voxels_sha256", "grid", "mr_percentiles", "seen", "extra"}


def write_report(
    output: Path,
    request: Mapping[str, Any],
    split: Mapping[str, Any],
    records: Mapping[str, Mapping[str, Any]],
    refused: Mapping[str, str],
) -> None:
    """Write when and with what versions, what was asked, and per patient what came of it."""
    parts = {name: part for part, names in split.items() for name in names}
    values = {
        "format": "sde_ct preparation report",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "request": request,
        "split": split,
        "refused": refused,
        "patients": {
            name: {"split": parts[name]}
            | {key: value for key, value in record.items() if key not in OF_PROGRAMS}
            for name, record in records.items()
        },
    }
    write_json(output / REPORT, values)
