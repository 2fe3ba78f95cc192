"""Matplotlib's figures as bytes that do not change from run to run."""

import io

from matplotlib.figure import Figure


def png(figure: Figure) -> bytes:
    """The figure at its own resolution; no date, no version."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
