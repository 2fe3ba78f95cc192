"""A comparable network in PyTorch: MONAI's DiffusionModelUNet, its training step and DDPM loop.

Only the benchmarks import this module, which needs `pip install '.[bench]'`.
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


def network(config: NetworkConfig, device: str) -> Any:
    """MONAI's UNet with the channels, blocks and groups of `config`.

    This UNet always has an attention block at the bottom, with 1 % of the parameters.
    """
    return DiffusionModelUNet(
        spatial_dims=2,
        in_channels=2,
        out_channels=1,
        num_res_blocks=config.blocks,
        channels=tuple(config.channels * m for m in config.multipliers),
        attention_levels=tuple(n in config.attention for n in range(len(config.multipliers))),
        norm_num_groups=config.groups,
        num_head_channels=64,
    ).to(device)


def contenders(
    config: NetworkConfig, size: int, batch: int
) -> tuple[dict[str, Callable[[], Any]], int]:
    """{name: call} of forward, training step and `LOOP` DDPM steps, and the parameter count."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = network(config, device)
    generator = np.random.default_rng(0)
    x = torch.tensor(generator.normal(size=(batch, 2, size, size)), dtype=torch.float32).to(device)
    target, t = x[:, :1].clone(), torch.full((batch,), 500, device=device)
    optimiser = torch.optim.Adam(net.parameters(), 1e-4)
    scheduler = DDPMScheduler(num_train_timesteps=1000, schedule="linear_beta")

    def waiting(call: Callable[[], None]) -> Callable[[], None]:
        def waited() -> None:
            call()
            if device == "cuda":
                torch.cuda.synchronize()

        return waited

    def calls(run: Callable, tag: str) -> dict[str, Callable[[], Any]]:
        @torch.no_grad()
        def forward():
            run(x, t)

        def train():
            optimiser.zero_grad(set_to_none=True)
            torch.nn.functional.mse_loss(run(x, t), target).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()

        @torch.no_grad()
        def loop():
            noisy = target
            for step in range(500, 500 - LOOP, -1):
                noise = run(torch.cat([noisy, x[:, 1:]], 1), torch.full_like(t, step))
                noisy, _ = scheduler.step(noise, step, noisy)

        return {f"torch {tag} {c.__name__}": waiting(c) for c in (forward, train, loop)}

    programs = calls(net, "eager")
    # On a CPU torch.compile writes C++ and needs a compiler for it.
    if device == "cuda" or any(map(shutil.which, ("g++", "clang++"))):
        programs |= calls(torch.compile(net), "compiled")
    return programs, sum(p.numel() for p in net.parameters())
