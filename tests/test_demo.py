"""The demo where it was stopped: what it has is kept, and another demo is refused."""

import shutil
from pathlib import Path

import pytest

from sde_ct.config import Experiment, recipe
from sde_ct.errors import InputError

from .programs import ROOT, call, listing

ASKED = ("--patients=6", "--seed=1")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder of a demo that was stopped before its trainings."""
    output = tmp_path_factory.mktemp("demo") / "out"
    assert stopped(output, *ASKED) == "trained"
    return output


asked: dict[str, Experiment] = {}  # what the last demo would have trained, by work directory


def stopped(output, *flags) -> str:
    """What ends a demo after its trainings, which are left out because they take minutes."""

    def side_by_side(chains):
        for command in (command for chain in chains for command in chain):
            given = dict(word[2:].split("=", 1) for word in command[2:])
            config = recipe(Path(given["config"]))
            for name, value in given.items():
                if name.startswith("config."):
                    *parts, field = name.split(".")[1:]
                    part = getattr(config, *parts)
                    setattr(part, field, type(getattr(part, field))(value))
            asked[Path(given["workdir"]).name] = config

    def synthesize_all(*arguments, **options):
        raise InputError("trained")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sde_ct.runtime.side_by_side.side_by_side", side_by_side)
        patch.setattr("sde_ct.lab.comparison.synthesize_all", synthesize_all)
        return call("demo", f"--output={output}", *flags).error


def test_a_demo_killed_while_it_prepares_goes_on(prepared, tmp_path):
    output, done = shutil.copytree(prepared, tmp_path / "out"), listing(prepared)
    (output / "data" / "dataset.json").unlink()
    shutil.rmtree(next((output / "data" / "cases").iterdir()))
    shutil.rmtree(next((output / "cohort" / "Task1" / "pelvis").iterdir()))
    assert stopped(output, *ASKED) == "trained"
    assert sorted(listing(output)) == sorted(done)
    same = [name for name in done if name.endswith(".npy")]
    assert len(same) == 24 and all(listing(output)[name] == done[name] for name in same)


def test_a_longer_demo_trains_so_many_times_longer_and_regressions_more_gently(prepared, tmp_path):
    output = shutil.copytree(prepared, tmp_path / "out")
    stopped(output, *ASKED, "--longer=4")
    training = {name: config.training for name, config in asked.items()}
    # The control has as many in all.
    assert training["residual"].steps + training["distilled"].steps == training["cnn"].steps
    for name, slower in {"residual": 2, "distilled": 2, "cnn": 2, "ddpm": 1, "gan": 1}.items():
        file = "distil" if name == "distilled" else name
        usual = recipe(ROOT / "configs" / "demo" / f"{file}.py").training
        assert training[name].steps == training[name].validate_every == 4 * usual.steps
        assert training[name].learning_rate == usual.learning_rate / slower
        assert asked[name].data.deform == 1.0  # 4 times 0.25
    assert {name: config.diffusion.times for name, config in asked.items()} == {
        **dict.fromkeys(("residual", "distilled"), "uniform"),
        **dict.fromkeys(("ddpm", "cnn", "gan"), "lognormal"),
    }


def test_a_demo_killed_between_its_last_files_goes_on_and_a_finished_one_stays(prepared, tmp_path):
    output = shutil.copytree(prepared, tmp_path / "out")
    (output / "uncertainty.json").write_text("{}")
    assert stopped(output, *ASKED) == "trained"
    (output / "metrics.json").write_text("{}")
    assert "metrics.json exists already" in stopped(output, *ASKED)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--patients=8", "--seed=1"), "holds 6 patients, not 8: ask for 6 patients"),
        (("--patients=6", "--seed=7"), "1PA001 holds another or an incomplete patient"),
    ],
)
def test_another_demo_in_the_same_folder_is_refused(prepared, flags, sentence):
    before = listing(prepared)
    assert sentence in stopped(prepared, *flags)
    assert listing(prepared) == before


@pytest.mark.parametrize("program", ["demo", "synthesize", "calibrate", "benchmark"])
@pytest.mark.parametrize("seed", [2**32, 2**63])
def test_a_seed_that_would_be_taken_for_another_is_refused(program, seed):
    """JAX's keys hold 32 bits: 2**32 gives the draws of 0, and 2**63 a traceback."""
    done = call(program, f"--seed={seed}", "--nonsense")  # which ends it if the seed does not
    assert done.status != 0 and f"error: --seed={seed}: give an integer" in done.err, done.err
    assert "Traceback" not in done.err
