"""One printable page per patient: PASS or REVIEW, the reasons, and three slices of the CT."""

import base64
import io
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sde_ct.acceptance.features import REASONS
from sde_ct.acceptance.verdict import Verdict
from sde_ct.storage.whole import whole
from sde_ct.volumes.files import read_any
from sde_ct.volumes.volume import canonical

STYLE = """
body { font: 15px/1.4 sans-serif; max-width: 46em; margin: 2em auto; color: #111 }
h1 span { padding: .1em .5em; color: #fff } .PASS { background: #1a7f37 }
.REVIEW { background: #b42318 } table { border-collapse: collapse; margin: .8em 0 }
td, th { border: 1px solid #bbb; padding: .2em .6em; text-align: left } img { width: 100% }
small { color: #555 } @page { size: A4; margin: 15mm }
@media print { body { margin: 0 } h1 span { print-color-adjust: exact } }
"""
SHOWN = (0.25, 0.5, 0.75)  # heights of the slices, as fractions from the lowest to the highest


def save_page(
    path: Path, name: str, verdict: Verdict, ct: Path, sidecar: Mapping[str, Any]
) -> None:
    """Write the page of a patient; a page that exists is replaced.

    Args:
      path: the file to write.
      name: the name of the volume's outputs.
      verdict: the verdict on the patient.
      ct: file of the mean CT, HU.
      sidecar: the content of the volume's sidecar.
    """
    reasons = "".join(f"<li>{escape(one.sentence)}</li>" for one in verdict.reasons)
    errors = "".join(
        f"<tr><td>{escape(tissue)}</td><td>{mae:.0f}</td>"
        f"<td>{'none' if most is None else f'{most:.0f}'}</td></tr>"
        for tissue, (mae, most) in verdict.errors.items()
    )
    facts = {one.name for one in verdict.reasons if one.weight is None}
    weights = "".join(
        f"<tr><td>{escape(REASONS[key])}</td>"
        f"<td>{weight:.2f}{' and a fact, see the reasons' if key in facts else ''}</td></tr>"
        for key, weight in sorted(verdict.weights.items(), key=lambda one: -one[1])
    )
    warnings = "".join(f"<li>{escape(text)}</li>" for text in sidecar.get("warnings", []))
    sha = str(sidecar.get("input", {}).get("sha256", ""))[:12]
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}: {verdict.word}</title>
<style>{STYLE}</style></head><body>
<h1>{escape(name)} <span class="{verdict.word}">{verdict.word}</span></h1>
<p>{escape(verdict.sentence)}</p>
{f"<h2>Reasons, causes first</h2><ol>{reasons}</ol>" if reasons else ""}
<img alt="Three axial slices of the synthetic CT" src="data:image/png;base64,{_picture(ct)}">
<h2>Predicted error</h2>
<table><tr><th>part</th><th>predicted MAE, HU</th><th>upper bound, HU</th></tr>{errors}</table>
<p><small>{escape(verdict.bound)}</small></p>
<h2>All checks</h2>
<table><tr><th>check</th><th>score over its threshold</th></tr>{weights}</table>
<p><small>{escape(verdict.promise)}</small></p>
{f"<h2>Warnings</h2><ul>{warnings}</ul>" if warnings else ""}
<p><small>Sampler {escape(str(sidecar.get("sampler")))}, {sidecar.get("draws")} draws; the MR's
voxels have the SHA-256 {escape(sha)}… For research only.</small></p>
</body></html>
"""
    with whole(path) as partial:
        partial.write_text(text, "utf-8", newline="\n")


def _picture(ct: Path) -> str:
    """Three axial slices, seen from the feet, as PNG in base64."""
    volume = canonical(read_any(ct))
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    aspect = volume.spacing[1] / volume.spacing[0]
    for axes, share in zip(figure.subplots(1, len(SHOWN)), SHOWN, strict=True):
        plane = volume.array[..., int(share * volume.array.shape[2])]
        axes.imshow(np.flip(plane.T, (0, 1)), cmap="gray", vmin=-160, vmax=240, aspect=aspect)
        axes.set_axis_off()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return base64.b64encode(stream.getvalue()).decode("ascii")
