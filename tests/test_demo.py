"""The demo where it was stopped: what it has is kept, and another demo is refused."""

import shutil

import pytest

from sde_ct.config import TrainingConfig, recipe
from sde_ct.errors import InputError

from .programs import ROOT, call, listing

ASKED = ("--patients=6", "--seed=1")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder of a demo that was stopped before its trainings."""
    output = tmp_path_factory.mktemp("demo") / "out"
    assert stopped(output, *ASKED) == "trained"
    return output


asked: dict[str, TrainingConfig] = {}  # of the last training of each method
deform: dict[str, float] = {}
times: dict[str, str] = {}


def stopped(output, *flags) -> str:
    """What ends a demo: its trainings, which would take minutes, end with the last of them."""

    def train(config, *arguments, init):
        asked[config.method], deform[config.method] = config.training, config.data.deform
        times[config.method] = config.diffusion.times
        if config.method == "gan":
            raise InputError("trained")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sde_ct.training.loop.train", train)
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
    # The control has as many in all.
    assert asked["residual"].steps + asked["distilled"].steps == asked["cnn"].steps
    for name, method, slower in (
        *(("residual", "residual", 2), ("distil", "distilled", 2), ("cnn", "cnn", 2)),
        *(("ddpm", "diffusion", 1), ("gan", "gan", 1)),
    ):
        usual = recipe(ROOT / "configs" / "demo" / f"{name}.py").training
        assert asked[method].steps == 4 * usual.steps
        assert asked[method].learning_rate == usual.learning_rate / slower
        assert deform[method] == 1.0  # 4 times 0.25
    assert times["residual"] == times["distilled"] == "uniform"
    assert times["diffusion"] == "lognormal"


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
    assert done.status != 0 and f"flag --seed={seed}" in done.err, done.err
    assert "Traceback" not in done.err
