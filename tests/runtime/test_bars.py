"""A bar in a log."""

import sys

from sde_ct.runtime.bars import bar, say


def test_a_log_gets_the_first_and_the_last_state_alone(capsys):
    assert list(bar(range(5000), desc="patients")) == list(range(5000))
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 2 and "0/5000" in shown[0] and "5000/5000" in shown[1]


def test_a_passing_bar_leaves_nothing_in_a_log(capsys):
    assert list(bar(range(5000), desc="slices", leave=False)) == list(range(5000))
    assert capsys.readouterr().err == ""


def test_a_line_beside_a_bar_stands_alone_in_a_log(capsys):
    for patient in bar(range(3)):
        say(f"patient {patient}")
        say("warning", file=sys.stderr)
    told = capsys.readouterr()
    assert told.out.splitlines() == ["patient 0", "patient 1", "patient 2"]
    assert told.err.splitlines()[1:4] == ["warning"] * 3
