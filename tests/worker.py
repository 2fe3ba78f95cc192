"""`launch/train.py` as one process of `test_multiprocess`: it counts the slices that it reads.

python tests/worker.py COUNT_FILE PAUSE ARGUMENTS; PAUSE: seconds of waiting before each step.
"""

import atexit
import runpy
import sys
import time
from pathlib import Path

from sde_ct.data.dataset import Slices
from sde_ct.training.data import TrainingBatches

SCRIPT = Path(__file__).resolve().parents[1] / "launch" / "train.py"
count_file, pause = Path(sys.argv[1]), float(sys.argv[2])
read: list[int] = []
get, take = Slices.__getitem__, TrainingBatches.__next__


def counted(self: Slices, i: int):
    read.append(i)
    return get(self, i)


def slowed(self: TrainingBatches):
    time.sleep(pause)
    return take(self)


Slices.__getitem__, TrainingBatches.__next__ = counted, slowed
atexit.register(lambda: count_file.write_text(str(len(read))))
sys.argv = [str(SCRIPT), *sys.argv[3:]]
runpy.run_path(str(SCRIPT), run_name="__main__")
