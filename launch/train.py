"""Train one network. Run the same command again to continue where the training stopped.

python launch/train.py --config=configs/demo/score.py --data=data/phantoms --workdir=runs/score
python launch/train.py --config=configs/gold_atlas/ddpm.py --config.data.batch_size=8 ...
python launch/train.py --config=configs/demo/score.py --config.training.steps=1440 ...
python launch/train.py --config=configs/demo/score.py --data=data/other --workdir=runs/other \
    --init=runs/score

The newest checkpoints and the one with the smallest validation loss, which synthesize.py uses, are
kept. With more config.training.steps, a training continues at the learning rates of the longer
schedule. --init starts from the best weights of another work directory, for example on a new
scanner's data; --teacher is another name of --init, for distilled and joint networks.

After SIGTERM or Ctrl-C, the training finishes and saves the current step. It exits with status 75,
or with 130 if Ctrl-C stopped a single process. --dry_run runs a few steps and prints the size of
the data, the shapes of the arrays, the memory and the cost.

Several processes train one network together. Under SLURM's `srun` and on a TPU pod they find each
other; elsewhere give each process --coordinator=HOST:PORT --processes=N --process=I.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from sde_ct.config import require_recipe
from sde_ct.runtime.cli import run

CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe, e.g. configs/demo/score.py.")
DATA = flags.DEFINE_string("data", None, "Prepared data set.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for checkpoints and logs.", required=True)
INIT = flags.DEFINE_string(
    "init",
    None,
    "Work directory whose best weights the training starts from; for a distilled or joint network, "
    "its teacher.",
)
flags.DEFINE_alias("teacher", "init")
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0, if there are several processes."
)
PROCESSES = flags.DEFINE_integer("processes", None, "How many processes train together.")
PROCESS = flags.DEFINE_integer("process", None, "Number of this process, from 0.")
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Run a few steps, and print what the training reads, needs and costs."
)
WANDB_PROJECT = flags.DEFINE_string("wandb_project", None, "W&B project to which figures are sent.")
flags.mark_flag_as_required("config")


def main() -> None:
    from sde_ct.data.prepared import read_prepared
    from sde_ct.runtime import parallel, peers
    from sde_ct.training.dry_run import dry_run
    from sde_ct.training.loop import train
    from sde_ct.training.wandb_report import wandb_report
    from sde_ct.training.weights import summary

    parallel.set_up(keep_memory=True)
    require_recipe(Path(config_flags.get_config_filename(flags.FLAGS["config"])))
    with peers.together(COORDINATOR.value, PROCESSES.value, PROCESS.value):
        with peers.agreed():
            prepared, workdir = read_prepared(DATA.value), Path(WORKDIR.value)
            init = Path(INIT.value) if INIT.value else None
        if DRY_RUN.value:
            lines = dry_run(CONFIG.value, prepared, workdir, init=init)
            if peers.is_primary():
                print("\n".join(lines))
            return
        project = WANDB_PROJECT.value
        report = wandb_report(project, workdir, CONFIG.value) if project else None
        train(CONFIG.value, prepared, workdir, init=init, report=report)
        if peers.is_primary():
            print(summary(workdir))


if __name__ == "__main__":
    run(main)
