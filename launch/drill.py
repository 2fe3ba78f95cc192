"""Kill a training many times, and check that it ends in the same state as an undisturbed one.

python launch/drill.py --config=configs/demo/gan.py --data=out/demo/data --output=out/drill \\
    --kills=100 --config.training.steps=2000 --config.training.checkpoint_every=20

It trains twice with `launch/train.py`. The second training is killed (SIGKILL) at random moments:
during the first save, other saves, steps, and the start of the program. The final states must agree
bit for bit. The exit status is 1 if they differ or if there were too few kills.
"""

import collections
import os
import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from sde_ct.config import require_recipe, validate
from sde_ct.errors import InputError
from sde_ct.runtime.cli import run

CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe, e.g. configs/demo/gan.py.")
DATA = flags.DEFINE_string("data", None, "Prepared data set.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "New folder for both trainings.", required=True)
TEACHER = flags.DEFINE_string(
    "teacher", None, "Work directory of a trained network, for recipes that start from one."
)
KILLS = flags.DEFINE_integer("kills", 20, "How often the second training is killed.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the random moments of the kills.")
flags.mark_flag_as_required("config")


def main() -> int:
    import jax

    from sde_ct.lab.drill import KINDS, differences, until_the_end

    require_recipe(Path(config_flags.get_config_filename(flags.FLAGS["config"])))
    validate(CONFIG.value)
    output = Path(OUTPUT.value)
    if output.exists() and any(output.iterdir()):
        raise InputError(f"--output={output} is not empty: give a new folder.")
    output.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_platforms", "cpu")  # only the trainings use the accelerator
    # The many short starts share all compiled programs, also those that compile fast.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

    for fate in until_the_end(_command(output / "whole"), output / "whole", 0, 0, output / "log"):
        print(f"undisturbed: {fate.step} steps in {fate.seconds:.1f} s", flush=True)
    found = collections.Counter()
    killed = output / "killed"
    for fate in until_the_end(_command(killed), killed, KILLS.value, SEED.value, output / "log"):
        found[fate.kind] += 1
        end = f"killed in a {fate.kind}" if fate.kind else "finished"
        print(f"from step {fate.start} to {fate.step}: {end}, {fate.seconds:.1f} s", flush=True)

    differing = differences(output / "whole", killed)
    kills = sum(found[kind] for kind in KINDS)
    print(f"{kills} kills: " + ", ".join(f"{found[kind]} in a {kind}" for kind in KINDS))
    print(
        "the final states differ in: " + "; ".join(differing)
        if differing
        else "the final states are the same, bit for bit"
    )
    if kills < KILLS.value:
        print(f"fewer than {KILLS.value} kills: give more config.training.steps")
    return 1 if differing or kills < KILLS.value else 0


def _command(workdir: Path) -> list[str]:
    """The command that trains to `workdir`, with the recipe and overrides of this call."""
    flag = flags.FLAGS["config"]
    changed = config_flags.get_override_values(flag)
    teacher = [f"--teacher={TEACHER.value}"] if TEACHER.value else []
    return [
        *(sys.executable, str(Path(__file__).with_name("train.py"))),
        f"--config={config_flags.get_config_filename(flag)}",
        *(f"--config.{name}={value}" for name, value in changed.items()),
        *(f"--data={DATA.value}", f"--workdir={workdir}", *teacher),
    ]


if __name__ == "__main__":
    run(main)
