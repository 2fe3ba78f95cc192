#!/usr/bin/env bash
# Orbax's CheckpointManager keeps the checkpoints with the best metric by sorting them. One loss that is NaN, which
# compares with nothing, leaves the list unsorted: the manager then deletes the checkpoint with the smallest loss,
# keeps the one with NaN, and returns another as the best. No message says so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 orbax-checkpoint==0.12.8 numpy==2.2.6
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

print(f"Orbax {ocp.__version__}, JAX {jax.__version__}")


def kept(name, losses):
    """The losses of the two checkpoints that are kept, and of the one that is called the best."""
    options = ocp.CheckpointManagerOptions(max_to_keep=2, best_fn=lambda m: m["loss"], best_mode="min")
    with ocp.CheckpointManager(Path(sys.argv[1]) / name, options=options) as manager:
        for step, loss in enumerate(losses):
            manager.save(step, args=ocp.args.StandardSave({"w": np.ones(3)}), metrics={"loss": loss})
        manager.wait_until_finished()
        return [losses[step] for step in manager.all_steps()], losses[manager.best_step()]


usual, odd = (2.0, 1.0, 4.0, 3.0), (2.0, 1.0, float("nan"), 3.0)
for name, losses in (("usual", usual), ("odd", odd)):
    steps, best = kept(name, losses)
    print(f"Losses {losses}, two to keep: kept {steps}, the best is {best}.")
print("Expected in both: 1.0 and 2.0 kept, 1.0 the best.")
sys.exit(0 if best == 3.0 and 1.0 not in steps and np.isnan(steps).any() else 1)
PYTHON
