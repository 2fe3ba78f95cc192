"""Two processes in one folder."""

import signal
import subprocess
import sys

import pytest

from sde_ct.errors import InputError
from sde_ct.storage.lock import locked

HOLD = """
import sys, time
from sde_ct.storage.lock import locked
with locked(sys.argv[1], "training", "--workdir"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_is_refused_until_the_first_is_gone(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=rf"process {first.pid} on .*another --workdir"):
            with locked(tmp_path, "training", "--workdir"):
                pass
        first.send_signal(signal.SIGKILL)
        first.wait()
    for _ in range(2):  # nothing is left behind, by a kill or by an end
        with locked(tmp_path, "training", "--workdir"):
            pass
