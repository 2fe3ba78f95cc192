"""What a run shows while it runs: a progress bar, TensorBoard, and metrics.jsonl."""

import json
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm


class Telemetry:
    """Scalars and images of one training run; a context manager."""

    def __init__(self, workdir: Path, title: str, start: int, steps: int, show: bool = True):
        self._writer = SummaryWriter(str(Path(workdir) / "tensorboard"))
        self._lines = (Path(workdir) / "metrics.jsonl").open("a")
        self._bar = tqdm(
            total=steps, initial=start, desc=title, unit="step", disable=not show,
            mininterval=0.5, smoothing=0.1, dynamic_ncols=True,
        )  # fmt: skip

    def __enter__(self) -> "Telemetry":
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()
        self._lines.close()
        self._writer.close()

    def advance(self) -> None:
        self._bar.update()

    def scalars(self, step: int, group: str, values: dict[str, float]) -> None:
        """Write the figures of one step; the loss is shown beside the bar."""
        values = {name: float(value) for name, value in values.items()}
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)
        self._lines.write(json.dumps({"step": step, "group": group, **values}) + "\n")
        self._lines.flush()
        if "loss" in values:
            self._bar.set_postfix({f"{group} loss": f"{values['loss']:.4f}"}, refresh=False)

    def images(self, step: int, name: str, images: np.ndarray) -> None:
        """Show [n, h, w] images in [-1, 1] side by side."""
        row = np.concatenate([np.flipud(image) for image in images], axis=1)
        gray = (np.clip(row, -1, 1) + 1) / 2
        self._writer.add_image(name, gray.astype(np.float32), step, dataformats="HW")
