"""Train one network, going on where an earlier start of the same command stopped.

python launch/train.py --config=configs/demo/score.py --data=data/phantoms --workdir=runs/score
python launch/train.py --config=configs/gold_atlas/ddpm.py --config.data.batch_size=8 ...

SIGTERM or Ctrl-C ends it after the step that is being made, which is saved, with status 75 (130
after Ctrl-C in a process alone). --dry_run makes a few steps and tells data, shapes, memory and
the cost of all.

Several processes train one network together: under SLURM's `srun` and on a TPU pod they find each
other; elsewhere give each --coordinator=HOST:PORT --processes=N --process=I.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from sde_ct.config import require_recipe
from sde_ct.runtime.cli import run

CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe, e.g. configs/demo/score.py.")
DATA = flags.DEFINE_string("data", None, "Prepared data set.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Receives checkpoints and logs.", required=True)
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, if several train.")
PROCESSES = flags.DEFINE_integer("processes", None, "How many processes train together.")
PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Tell what it would read, need and cost; no more.")
WANDB_PROJECT = flags.DEFINE_string("wandb_project", None, "W&B project to send the figures to.")
flags.mark_flag_as_required("config")


def main() -> None:
    from sde_ct.data.prepared import read_prepared
    from sde_ct.runtime import parallel, peers
    from sde_ct.training.dry_run import dry_run
    from sde_ct.training.loop import train
    from sde_ct.training.wandb_report import wandb_report

    parallel.set_up()
    require_recipe(Path(config_flags.get_config_filename(flags.FLAGS["config"])))
    with peers.together(COORDINATOR.value, PROCESSES.value, PROCESS.value):
        with peers.agreed():
            prepared, workdir = read_prepared(DATA.value), Path(WORKDIR.value)
        if not DRY_RUN.value:
            report = None
            if WANDB_PROJECT.value:
                report = wandb_report(WANDB_PROJECT.value, workdir, CONFIG.value)
            train(CONFIG.value, prepared, workdir, report=report)
            return
        lines = dry_run(CONFIG.value, prepared, workdir)
        if peers.is_primary():
            print("\n".join(lines))


if __name__ == "__main__":
    run(main)
