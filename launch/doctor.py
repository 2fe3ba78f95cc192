"""Examine a volume, a folder of patients, a prepared data set or a work directory.

    python launch/doctor.py PATH

This prints one screen: what PATH is, what is wrong with it, how to fix it, and what training or
synthesis would cost on this machine. It writes no file and names no patient. Exit status: 0 if it
is healthy, 1 if something is wrong, 2 if the path cannot be used.
"""

from functools import partial
from pathlib import Path

from absl import flags

from sde_ct.runtime.bars import bar
from sde_ct.runtime.cli import run

COST = flags.DEFINE_bool("cost", True, "Also estimate the cost, which takes some seconds.")
RECIPE = Path(__file__).resolve().parent.parent / "configs" / "gold_atlas" / "residual.py"


def main(path: str) -> int:
    from sde_ct.doctor.diagnosis import diagnose
    from sde_ct.doctor.finding import screen
    from sde_ct.runtime import parallel

    parallel.set_up(keep_memory=True)
    progress = partial(bar, desc="doctor", unit="patient", leave=False)
    report = diagnose(Path(path), RECIPE if COST.value else None, progress)
    print(screen(report))
    return 1 if report.findings else 0


if __name__ == "__main__":
    run(main, "PATH")
