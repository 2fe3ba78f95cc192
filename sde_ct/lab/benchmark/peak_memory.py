"""The largest resident memory of a process during training steps.

Each network is trained in a process of its own, so that memory which one network leaves behind does
not count for the next. Only Linux reports the figure.
"""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

from sde_ct.config import NetworkConfig

OURS, TORCH = "ours", "torch"
BEFORE, STEPS = 2, 4  # training steps before and after the peak is reset
PROCESS = Path("/proc/self")


def peak_memory(whose: str, network: NetworkConfig, size: int, batch: int) -> float | None:
    """The peak in bytes from the third training step on; None if not on Linux.

    Args:
      whose: `OURS`, or `TORCH` for MONAI's UNet in PyTorch without compilation.
    """
    if sys.platform != "linux":
        return None
    given = json.dumps([whose, dataclasses.asdict(network), size, batch])
    command = [sys.executable, "-P", "-m", "sde_ct.lab.benchmark.peak_memory", given]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def _train(whose: str, network: NetworkConfig, size: int, batch: int) -> None:
    """Train in this process and print its largest resident memory, in bytes."""
    if whose == TORCH:
        from sde_ct.lab.benchmark import torch_side

        step = torch_side.contenders(network, size, batch)[0]["torch eager train"]
    else:
        import jax

        from sde_ct.lab.benchmark.training_step import experiment, timed
        from sde_ct.runtime import heap, parallel

        parallel.set_up(keep_memory=True)
        update = timed(experiment(network), size, batch, None)

        def step() -> None:
            jax.block_until_ready(update())
            heap.give_back()

    for number in range(BEFORE + STEPS):
        if number == BEFORE:
            (PROCESS / "clear_refs").write_text("5")  # forgets the peak so far
        step()
    lines = (PROCESS / "status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    print(1024 * peak)


if __name__ == "__main__":
    whose, fields, size, batch = json.loads(sys.argv[1])
    _train(whose, NetworkConfig(**fields), size, batch)
