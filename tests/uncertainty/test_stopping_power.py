"""Stopping-power tables: their values, files and refusals."""

import re

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.uncertainty.stopping_power import MATRAD, PYRADPLAN, StoppingPower, read_table


def test_pyradplan_gives_water_one_and_is_linear_between_its_nodes():
    hu = np.array([[-3000, -1024, -1000], [0, 50, 100], [225, 3000, 9000]], np.int16)
    right = [[0.001, 0.001, 0.001], [1, 1.0475, 1.095], [1.147, 2.505, 2.505]]
    assert PYRADPLAN(hu) == pytest.approx(np.array(right), abs=1e-12)


def test_matrads_table_is_another():
    # 0 HU lies 1024 / 1224 of the way from 0.00324 to 1.2.
    assert MATRAD(np.zeros(1)) == pytest.approx([0.00324 + 1024 / 1224 * 1.19676])
    hu = np.array([-90.0, 0, 449, 2048])
    assert MATRAD(hu) / PYRADPLAN(hu) == pytest.approx([0.9647, 1.0045, 0.9617, 1.2430], abs=1e-4)


def test_a_hospitals_table_is_read_from_csv(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("\ufeffHU,RSP\r\n-1000, 0.001\r\n0,1\r\n\r\n1500,1.75\r\n", "utf-8")
    table = read_table(path)
    assert table == StoppingPower(str(path), (-1000, 0, 1500), (0.001, 1, 1.75))
    assert table(np.array([750.0])) == pytest.approx([1.375])


TABLES = {
    "fall": ((-1000, 50, 0), (0, 1, 1), "0 HU does not exceed"),
    "repeat": ((-1000, 0, 0), (0, 1, 1), "0 HU does not exceed"),
    "nan": ((-1000, 0), (0, float("nan")), "NaN or infinite"),
    "infinite": ((-np.inf, 0), (0, 1), "NaN or infinite"),
    "negative": ((-1000, 0), (-0.1, 1), "an RSP is -0.1"),
    "short": ((-1000,), (0,), "two nodes"),
    "unequal": ((-1000, 0), (0, 1, 2), "one RSP for each HU"),
    "no air": ((0, 1000), (1, 1.5), "begins at 0 HU: add nodes for air"),
}


@pytest.mark.parametrize("name", TABLES)
def test_bad_nodes_are_refused(name):
    hu, rsp, sentence = TABLES[name]
    with pytest.raises(InputError, match=f"'mine' cannot be used: .*{re.escape(sentence)}"):
        StoppingPower("mine", hu, rsp)


FILES = {
    "no header": (b"-1000,0\n0,1\n", "does not begin with the line HU,RSP"),
    "swapped": (b"RSP,HU\n0,-1000\n1,0\n", "does not begin with the line HU,RSP"),
    "empty": (b"", "does not begin with the line HU,RSP"),
    "only a header": (b"HU,RSP\n", "two nodes"),
    "three columns": (b"HU,RSP\n-1000,0,1\n", "line 2: '-1000,0,1' is not two numbers"),
    "decimal commas": (b"HU,RSP\n-1000;0,001\n", "line 2: '-1000;0,001' is not two numbers"),
    "not text": (b"\xff\xfe\x00\x80", "is not a CSV file"),
    "falling": (b"HU,RSP\n-1000,0\n-2000,1\n", "-2000 HU does not exceed"),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_files_are_refused_by_name(tmp_path, name):
    content, sentence = FILES[name]
    (tmp_path / "curve.csv").write_bytes(content)
    with pytest.raises(InputError, match=rf"curve\.csv.*{re.escape(sentence)}"):
        read_table(tmp_path / "curve.csv")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv cannot be read: No such file"):
        read_table(tmp_path / "none.csv")
