"""Time grids."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct import VESDE, VPSDE
from sde_ct.errors import InputError
from sde_ct.sampling import chosen_for_few, karras, uniform_log_snr, uniform_time

SDES = [VPSDE(), VESDE(), VESDE.from_sigma(25.0)]


@pytest.mark.parametrize("sde", SDES, ids=["vp", "ve", "paper-ve"])
@pytest.mark.parametrize("grid", [uniform_time, uniform_log_snr, karras])
@pytest.mark.parametrize("steps", [1, 2, 17, 1000])
def test_grids_descend_from_one_to_their_end(grid, sde, steps):
    times = grid(sde, steps, end=2e-3)
    assert times.shape == (steps + 1,)
    assert times[0] == 1
    assert times[-1] == pytest.approx(2e-3)
    assert (jnp.diff(times) < 0).all()


@pytest.mark.parametrize("sde", SDES, ids=["vp", "ve", "paper-ve"])
def test_steps_are_equal_in_what_the_grid_names(sde):
    np.testing.assert_allclose(jnp.diff(uniform_time(sde, 10)), -0.0999, rtol=1e-5)
    log_snr = -2 * jnp.log(sde.noise_ratio(uniform_log_snr(sde, 10)))
    np.testing.assert_allclose(jnp.diff(log_snr), (log_snr[-1] - log_snr[0]) / 10, rtol=1e-3)
    levels = sde.noise_ratio(uniform_log_snr(sde, 10, hidden=3.0))
    log = np.log(1 / levels + 1 / 3)
    np.testing.assert_allclose(jnp.diff(log), (log[-1] - log[0]) / 10, rtol=1e-3)
    root = sde.noise_ratio(karras(sde, 10)) ** (1 / 7)
    np.testing.assert_allclose(jnp.diff(root), (root[-1] - root[0]) / 10, rtol=1e-3)


@pytest.mark.parametrize("grid", [uniform_time, uniform_log_snr, karras])
def test_no_steps_are_refused(grid):
    with pytest.raises(InputError, match="steps"):
        grid(VPSDE(), 0)


def test_levels_for_few_steps_scale_with_the_data_and_end_where_training_did():
    grid = partial(chosen_for_few, otherwise=uniform_log_snr, data_std=0.5)
    levels = VESDE().noise_ratio(grid(VESDE(), 4))[1:]
    np.testing.assert_allclose(levels, 0.5 * np.array([3.06, 0.435, 0.077, 0.017]), rtol=1e-4)
    assert float(grid(VESDE(), 4, least=0.04)[-1]) == pytest.approx(0.04)
    for sde, steps in ((VESDE(), 8), (VESDE(sigma_max=1.0), 4)):  # too many, begins below
        np.testing.assert_array_equal(grid(sde, steps), uniform_log_snr(sde, steps))
