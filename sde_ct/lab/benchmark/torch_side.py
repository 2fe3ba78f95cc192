"""The same network in PyTorch: MONAI's DiffusionModelUNet, its training step and its DDPM loop.

Needs `pip install '.[bench]'`; imported only by the benchmark.
"""

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import DDPMScheduler

from sde_ct.config import NetworkConfig
from sde_ct.runtime.timing import LOOP

LEARNING_RATE = 1e-4


def network(config: NetworkConfig, device: str) -> Any:
    """MONAI's UNet with the same channels, blocks and groups; it always has one attention block,
    at the bottom: 1 % of the parameters."""
    channels = tuple(config.channels * m for m in config.multipliers)
    return DiffusionModelUNet(
        spatial_dims=2,
        in_channels=2,
        out_channels=1,
        num_res_blocks=config.blocks,
        channels=channels,
        attention_levels=tuple(level in config.attention for level in range(len(channels))),
        norm_num_groups=config.groups,
        num_head_channels=64,
    ).to(device)


def parameters(net: Any) -> int:
    return sum(p.numel() for p in net.parameters())


def contenders(
    config: NetworkConfig, size: int, batch: int
) -> tuple[dict[str, Callable[[], Any]], int]:
    """(name -> call) of forward, training step and `LOOP` steps of DDPM; parameter count."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = network(config, device)
    generator = np.random.default_rng(0)
    x = torch.tensor(generator.normal(size=(batch, 2, size, size)), dtype=torch.float32).to(device)
    target, t = x[:, :1].clone(), torch.full((batch,), 500, device=device)
    optimiser = torch.optim.Adam(net.parameters(), LEARNING_RATE)
    scheduler = DDPMScheduler(num_train_timesteps=1000, schedule="linear_beta")

    def wait(value: Any) -> Any:
        if device == "cuda":
            torch.cuda.synchronize()
        return value

    def calls(run: Callable, tag: str) -> dict[str, Callable[[], Any]]:
        def forward():
            with torch.no_grad():
                run(x, t)
            wait(None)

        def train():
            optimiser.zero_grad(set_to_none=True)
            loss = torch.nn.functional.mse_loss(run(x, t), target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            wait(None)

        def loop():
            with torch.no_grad():
                noisy = target
                for step in range(500, 500 - LOOP, -1):
                    noise = run(
                        torch.cat([noisy, x[:, 1:]], 1), torch.full((batch,), step, device=device)
                    )
                    noisy, _ = scheduler.step(noise, step, noisy)
            wait(None)

        return {
            f"torch {tag} forward": forward,
            f"torch {tag} train": train,
            f"torch {tag} loop": loop,
        }

    found = calls(net, "eager")
    # torch.compile writes C++ on a CPU and needs what compiles it.
    if device == "cuda" or any(map(shutil.which, ("g++", "clang++"))):
        found |= calls(torch.compile(net), "compiled")
    return found, parameters(net)
