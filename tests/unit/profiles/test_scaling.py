"""Growth against curves whose exponent is known, and statsmodels' regression."""

import numpy as np
import pytest
import statsmodels.api as sm

from harness.profiles.assemble import extrapolate, growth

SIZES = (1_000, 5_000, 25_000, 100_000)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.7])
def test_the_exponent_of_a_power_law(exponent):
    fitted = growth({size: 0.003 * size**exponent for size in SIZES})
    assert fitted.exponent == pytest.approx(exponent, abs=1e-9)
    assert fitted.low == pytest.approx(exponent, abs=1e-6)


def test_the_interval_is_that_of_a_linear_regression():
    latency = dict(zip(SIZES, (2.0, 7.5, 44.0, 160.0), strict=True))
    fitted = growth(latency)
    line = sm.OLS(np.log(list(latency.values())), sm.add_constant(np.log(list(latency)))).fit()
    assert (fitted.exponent, fitted.low, fitted.high) == pytest.approx((line.params[1], *line.conf_int()[1]))


def test_two_sizes_have_no_interval_and_one_no_exponent():
    assert growth({1000: 1.0}) is None
    assert (growth({1000: 1.0, 2000: 4.0}).exponent, growth({1000: 1.0, 2000: 4.0}).low) == (pytest.approx(2.0), None)


def test_extrapolation_follows_the_last_two_sizes():
    assert extrapolate({1000: 5.0, 5000: 10.0, 25000: 50.0}, 100_000) == pytest.approx(200.0)
    assert extrapolate({1000: 5.0, 5000: 4.0}, 25_000) == 4.0  # noise never makes a larger gallery cheaper
    assert extrapolate({1000: 5.0}, 5000) is None
