"""Check a training without a cluster, for --dry_run of the scripts in this folder.

python launch/cluster/check.py --devices=16 --memory=80 --config=configs/gold_atlas/ddpm.py \
    --data=data --workdir=runs/ddpm

It checks the recipe, the data, the work directory and --init, whether the batch divides over the
devices, and whether the batch fits into their memory.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from sde_ct.config import require_recipe, validate
from sde_ct.errors import InputError
from sde_ct.runtime.cli import run

CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe, as for train.py.")
DATA = flags.DEFINE_string("data", None, "Prepared data set.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Where to train.", required=True)
INIT = flags.DEFINE_string("init", None, "As for train.py.")
flags.DEFINE_alias("teacher", "init")
flags.DEFINE_string("wandb_project", None, "As for train.py; it is not checked.")
DEVICES = flags.DEFINE_integer("devices", None, "Number of devices.", required=True, lower_bound=1)
MEMORY = flags.DEFINE_float("memory", 80.0, "Memory of each device, GB.", lower_bound=0.0)
flags.mark_flag_as_required("config")


def main() -> None:
    from sde_ct.data.prepared import read_prepared
    from sde_ct.training.cost import estimate, in_bytes
    from sde_ct.training.data import describe
    from sde_ct.training.dry_run import writable
    from sde_ct.training.experiment import check_experiment
    from sde_ct.training.loop import check_fit
    from sde_ct.training.weights import check_init, require_teacher

    require_recipe(Path(config_flags.get_config_filename(flags.FLAGS["config"])))
    config, devices = validate(CONFIG.value), DEVICES.value
    workdir, init = Path(WORKDIR.value), Path(INIT.value) if INIT.value else None
    prepared = read_prepared(DATA.value)
    check_fit(config, prepared, devices)
    check_experiment(workdir, config, describe(config.data, prepared))
    if init is not None:
        check_init(init, workdir, config, prepared.size)
    require_teacher(init, workdir, config)
    writable(workdir)
    each = config.data.slices // devices
    needed = estimate(config, prepared.size).training_bytes(each)
    share = (
        f"{each} slices on each of {devices} devices, about {in_bytes(needed)} of "
        f"{MEMORY.value:g} GB"
    )
    if needed > 1e9 * MEMORY.value:
        raise InputError(
            f"config.data.batch_size={config.data.batch_size} puts {share}: use more devices, a "
            "smaller batch or config.network.remat=True."
        )
    height, width = prepared.size
    print(f"{DATA.value}: {len(prepared.of('train'))} training patients, {height} x {width}")
    print(share)
    print(f"{workdir}: {config.training.steps} steps")


if __name__ == "__main__":
    run(main)
