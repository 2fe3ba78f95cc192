"""The typed configuration and the recipes that fill it."""

import dataclasses
import json
import math
import typing

import jax
import pytest

from sde_ct.config import (
    Experiment,
    NetworkConfig,
    SDEConfig,
    recipe,
    validate,
)
from sde_ct.config_record import SECTIONS, differences, flatten, from_dict, to_dict
from sde_ct.errors import InputError
from sde_ct.methods import build_method, build_network, build_sde
from sde_ct.methods.samplers import SAMPLERS, Levels
from sde_ct.sampling import karras
from sde_ct.sde import VESDE
from sde_ct.training.state import fresh_state

from .programs import ROOT, call

RECIPES = sorted((ROOT / "configs").glob("*/*.py"))


def changed(name: str, value) -> Experiment:
    """The default experiment with one field set."""
    config = Experiment()
    *path, last = name.split(".")
    target = config
    for step in path:
        target = getattr(target, step)
    setattr(target, last, value)
    return config


def test_json_keeps_every_field():
    config = Experiment(
        method="gan", network=NetworkConfig(multipliers=(1, 3), attention=(1,)), sde=SDEConfig("ve")
    )
    again = from_dict(json.loads(json.dumps(to_dict(config))))
    assert again == config and again.network.multipliers == (1, 3)
    assert differences(config, again) == []


def test_differences_name_the_fields():
    a, b = Experiment(), changed("sde.sigma_max", 20.0)
    b.network.channels = 32
    assert differences(a, b) == ["sde.sigma_max: 50.0 -> 20.0", "network.channels: 64 -> 32"]


# The fields added since records of the present form began, and what was done without them.
EARLIER = {
    "sampling.fast_evaluations": 20,  # its samplers did not exist
    "sampling.fast_end": 0.01,  # likewise
    "diffusion.listed": (),
    "network.remat": False,
    "data.contrasts": 1,
    "training.skip_limit": 0,  # the first update that was not finite ended the run
    "training.rollback_rate": 0.0,
    "sampling.shared_noise": False,
    "sampling.correlated_noise": False,
    "sampling.fast_grid": "karras",
    "sampling.ode_denoise": False,  # the ODE ended at t = 1e-3
}


@pytest.mark.parametrize("name", EARLIER)
def test_a_field_missing_from_an_older_record_takes_its_earlier_behaviour(name):
    values = to_dict(changed("sampling.snr", 0.2))
    section, last = name.split(".")
    del values[section][last]
    expected = changed("sampling.snr", 0.2)
    setattr(getattr(expected, section), last, EARLIER[name])
    assert from_dict(values) == expected


def test_an_older_networks_ode_ends_where_it_did():
    """A probability-flow ODE without denoising makes one network evaluation less."""
    values = to_dict(Experiment())
    del values["sampling"]["ode_denoise"]
    for config, settings in ((Experiment(), {"end", "denoise"}), (from_dict(values), set())):
        made = SAMPLERS["ode"].settings(config.sampling, Levels(0.1, karras, karras))
        assert made.keys() - {"rtol", "atol"} == settings


def test_a_stored_configuration_of_another_version_is_refused():
    values = to_dict(Experiment())
    values["sde"]["zeta"] = 1
    with pytest.raises(InputError, match="does not fit this version: zeta"):
        from_dict(values)
    del values["sde"]["zeta"], values["training"]
    with pytest.raises(InputError, match="training"):
        from_dict(values)


WRONG = {
    "method": "unet",
    "sde": None,
    "sde.kind": "vpp",
    "sde.beta_min": 0.0,
    "sde.beta_max": 0.05,  # below beta_min
    "sde.sigma_min": 60.0,  # above sigma_max
    "sde.sigma_max": "20",
    "network.channels": -8,
    "network.multipliers": (),
    "network.attention": (5,),
    "network.patch": 0,
    "network.dtype": "float16",
    "network.dropout": 0.1,  # of a method other than the CNN
    "diffusion.form": "noise",
    "diffusion.time_min": 1.0,
    "diffusion.log_mean": math.nan,
    "adversarial.l1_weight": -1.0,
    "data.batch_size": 2.5,
    "data.neighbours": -1,
    "data.z_slices": 2,
    "data.hu_low": 3000.0,
    "data.flip": "yes",
    "training.steps": True,
    "training.learning_rate": math.inf,
    "training.ema": 1.0,
    "training.log_every": 0,
    "training.seed": -1,
    "sampling.snr": math.nan,
    "sampling.em_steps": 0,
    "sampling.fast_evaluations": 2,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_by_its_name(name):
    with pytest.raises(InputError, match=rf"config\.{name}\b"):
        validate(changed(name, WRONG[name]))


@pytest.mark.parametrize("levels", [(0, 1), (1.5,), "12"])
def test_levels_are_whole_numbers(levels):
    with pytest.raises(InputError, match=r"config\.network\.multipliers"):
        validate(changed("network.multipliers", levels))


def test_a_list_of_levels_is_the_tuple():
    listed = validate(changed("network.multipliers", [1, 2]))
    assert differences(changed("network.multipliers", (1, 2)), listed) == []


@pytest.mark.parametrize(
    ("sde", "most"), [(SDEConfig("ve", sigma_max=10.0), 9.99999), (SDEConfig("vp"), 152.2)]
)
def test_a_sampler_ends_below_the_level_that_it_begins_at(sde, most):
    config = Experiment(sde=sde)
    assert float(build_sde(config).noise_ratio(1.0)) == pytest.approx(most, rel=1e-3)
    config.sampling.fast_end = 0.99 * most
    validate(config)
    config.sampling.fast_end = 1.01 * most
    with pytest.raises(InputError, match=rf"fast_end=.* must be below {most:.4g}, the noise"):
        validate(config)


def test_a_warm_up_longer_than_the_decay_is_refused():
    config = changed("training.decay", True)
    config.training.steps = config.training.warmup = 30
    with pytest.raises(InputError, match=r"training\.warmup=30 must be below .*training\.steps=30"):
        validate(config)


def test_what_is_no_experiment_is_refused(tmp_path):
    with pytest.raises(InputError, match="return an Experiment"):
        validate({"method": "cnn"})
    with pytest.raises(InputError, match=r"nix\.py: there is no such recipe"):
        recipe(tmp_path / "nix.py")


def test_defaults_are_valid_and_every_field_is_checked():
    assert validate(Experiment()) == Experiment()
    for name, value in flatten(Experiment()).items():  # no field takes a value of another type
        with pytest.raises(InputError, match=rf"config\.{name}="):
            validate(changed(name, b"" if not isinstance(value, bytes) else None))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_recipe_builds(path):
    config = recipe(path)
    sde, multiple = build_sde(config), build_network(config).multiple
    assert (sde.__class__ is VESDE) == (config.sde.kind == "ve")
    size = (2 * multiple, 3 * multiple)
    method = build_method(config)
    weights = jax.eval_shape(lambda: method.weights(fresh_state(method, config, size)))
    count = sum(math.prod(x.shape) for x in jax.tree.leaves(weights))
    if path.parent.name == "paper":  # the authors' networks have 26.1 M parameters
        assert count == pytest.approx(26.1e6, rel=0.01)
    assert path.read_text().startswith('"""')
    assert dataclasses.asdict(config) == to_dict(from_dict(to_dict(config)))


def test_the_papers_settings():
    ddpm, score = (recipe(ROOT / "configs" / "paper" / f"{n}.py") for n in ("ddpm", "score"))
    beta = [build_sde(ddpm).marginal(t) for t in (0.0, 1.0)]
    assert float(beta[0][0]) == 1.0 and ddpm.diffusion.steps == ddpm.sampling.ddpm_steps == 1000
    assert (ddpm.sde.beta_min / 1000, ddpm.sde.beta_max / 1000) == (1e-4, 0.02)
    std = [float(build_sde(score).marginal(t)[1]) for t in (1.0, 1e-3)]
    assert std == pytest.approx([9.85, 0.0317], rel=2e-3)  # of dx = 25^t dw, to the digits given
    assert (score.sampling.corrector_steps, score.sampling.snr) == (10, 0.16)
    assert not score.sampling.ode_denoise  # the ODE ends in x(1e-3)
    for config in (ddpm, score):
        assert (config.training.learning_rate, config.data.batch_size) == (1e-4, 4)
        assert config.data.intensity == "slice_minmax" and config.network.noise_scale == 30
    assert (ddpm.training.ema, ddpm.training.clip) == (0.9999, 1.0)
    assert (score.training.ema, score.training.clip) == (0.0, 0.0)


OVERRIDES = {
    "misspelt": (
        "--config.sde.sigma_mx=20",
        "there is no field 'sigma_mx': did you mean 'sigma_max'?",
    ),
    "ill-typed": (
        "--config.training.steps=2.5",
        "--config.training.steps=2.5: give a whole number",
    ),
}


@pytest.mark.parametrize("case", OVERRIDES)
def test_an_override_is_refused_by_its_name(case, tmp_path):
    override, message = OVERRIDES[case]
    usual = [f"--config={ROOT / 'configs/demo/score.py'}", f"--data={tmp_path / 'data'}"]
    done = call("train", *usual, f"--workdir={tmp_path / 'run'}", override)
    assert done.status != 0 and "Traceback" not in done.err
    assert message in done.err and not list(tmp_path.iterdir())


def test_a_section_that_is_younger_than_a_record_takes_its_defaults():
    @dataclasses.dataclass
    class Younger(Experiment):
        later: SDEConfig = dataclasses.field(default_factory=SDEConfig)

    hints = typing.get_type_hints(Younger)
    assert set(hints) - set(SECTIONS) == {"later", "residual"}
    record = to_dict(Experiment(method="cnn"))
    assert from_dict(record, Younger).later == SDEConfig()
    assert from_dict(record, Younger).method == "cnn"
    with pytest.raises(InputError, match="network"):
        from_dict({k: v for k, v in record.items() if k != "network"})
