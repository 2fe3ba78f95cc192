"""A bar in a log."""

from sde_ct.bars import bar


def test_a_log_gets_the_first_and_the_last_state_alone(capsys):
    assert list(bar(range(5000), desc="patients")) == list(range(5000))
    shown = capsys.readouterr().err.split("\r")
    assert len([state for state in shown if state]) == 2 and "5000/5000" in shown[-1]


def test_a_passing_bar_leaves_nothing_in_a_log(capsys):
    assert list(bar(range(5000), desc="slices", leave=False)) == list(range(5000))
    assert capsys.readouterr().err == ""
