"""Read a trained network from its work directory."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sde_ct.config import Experiment, validate
from sde_ct.data.contrasts import SINGLE
from sde_ct.data.inputs import NetworkInput, network_input
from sde_ct.data.intensity import Intensity
from sde_ct.errors import InputError
from sde_ct.methods import build_method, build_network, build_sde, takes_sampler
from sde_ct.methods.samplers import with_evaluations
from sde_ct.training import weights
from sde_ct.volumes.volume import Volume


class Trained(NamedTuple):
    """A trained network and all that is needed to use it."""

    config: Experiment
    data: dict[str, Any]  # the description of the training data
    params: Any
    step: int
    chosen: str = "newest"  # "best" by validation loss, or "newest"

    @property
    def intensity(self) -> Intensity:
        return Intensity.from_json(self.data["intensity"])

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The names of the MR contrasts, in the order of the training."""
        return tuple(self.data.get("contrasts", SINGLE))

    def draws_differ(self, sampler: str | None) -> bool:
        """Whether the draws of this sampler differ, see `Method.is_random`.

        Raises InputError if the network has no such sampler.
        """
        return build_method(self.config, sampler=sampler).is_random

    def input_of(
        self, mr: Volume, mask: Volume | None = None, *, further: Sequence[Volume], name: str
    ) -> NetworkInput:
        """`network_input` of an MR, with the settings of the training."""
        return network_input(
            mr,
            self.intensity.mr,
            mask,
            further=further,
            neighbours=self.config.data.neighbours,
            spacing=tuple(self.data["spacing"]) if self.data["spacing"] else None,
            size=tuple(self.data["size"]),
            n4=self.data.get("n4", False),
            multiple=build_network(self.config).multiple,
            name=name,
        )

    def identity(self) -> dict[str, Any]:
        """The step and a hash of the weights, independent of the work directory, as plain JSON."""
        return {"step": self.step, "weights_sha256": self.sha256()}

    def sha256(self) -> str:
        """A hash of the weights, in hex."""
        return weights.sha256(self.params)


def load(workdir: Path, checkpoint: str = "best") -> Trained:
    """Load a checkpoint of a work directory, with its sampling weights.

    Args:
      workdir: work directory of the training.
      checkpoint: "best" for the smallest validation loss, or "newest". If no validation loss was
        measured, "best" loads the newest.

    Raises:
      InputError: the folder is not a work directory, or holds no checkpoint yet.
    """
    return Trained(*weights.read_weights(workdir, *weights.choose(workdir, checkpoint)))


def with_budget(trained: Trained, sampler: str | None, evaluations: int | None) -> Trained:
    """The network with as many sampler steps per draw as `evaluations` allow; None changes nothing.

    The evaluations of a regression are not counted.

    Raises InputError if the method or the sampler needs a fixed number of evaluations, or as
    `with_evaluations`.
    """
    if evaluations is None:
        return trained
    fixed = trained.config.diffusion.times == "listed" or not takes_sampler(trained.config)
    if fixed or not trained.draws_differ(sampler):
        raise InputError(
            "This network and sampler need a fixed number of evaluations: leave out --evaluations."
        )
    options = with_evaluations(
        trained.config.sampling, sampler or "", evaluations, build_sde(trained.config)
    )
    return trained._replace(config=dataclasses.replace(trained.config, sampling=options))


def with_sde(trained: Trained, kind: str | None, sampler: str | None = None) -> Trained:
    """The network with "vp" or "ve" as the SDE of its sampler; None changes nothing.

    A network of the form `edm` depends only on the ratio of data and noise, so it serves both SDEs.

    Raises InputError if the method or the sampler follows no SDE, or the network serves only one.
    """
    if kind is None:
        return trained
    config = trained.config
    if not (takes_sampler(config) and trained.draws_differ(sampler)):
        raise InputError("This synthesis follows no SDE: leave out --sde.")
    if config.diffusion.form != "edm" or config.diffusion.times == "listed":
        raise InputError(
            "This network knows the SDE of its training only: leave out --sde, which is for "
            "config.diffusion.form='edm' without listed times."
        )
    sde = dataclasses.replace(config.sde, kind=kind)
    return trained._replace(config=validate(dataclasses.replace(config, sde=sde)))
