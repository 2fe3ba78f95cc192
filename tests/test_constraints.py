"""Constraints that are checked for every section of a configuration."""

import pytest

from sde_ct.config import Experiment, validate
from sde_ct.errors import InputError


def test_misspelt_fields_of_a_recipe_are_refused():
    """Python sets them as attributes that nothing reads."""
    config = Experiment()
    config.training.stepz = 7
    with pytest.raises(InputError, match=r"config\.training\.stepz is not a field: check its name"):
        validate(config)
    config = Experiment()
    config.trainig = 1
    with pytest.raises(InputError, match=r"config\.trainig is not a field"):
        validate(config)


def test_integers_too_large_for_a_float_are_refused():
    config = Experiment()
    config.sde.sigma_max = 10**400
    with pytest.raises(InputError, match=r"config\.sde\.sigma_max=10+: give at most"):
        validate(config)
