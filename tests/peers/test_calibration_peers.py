"""Reweighting against i-PI and calibration against Uncertainty Toolbox, number by number."""

import runpy
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from matterscape.uq.calibration import continuous_ranked_probability_score, negative_log_likelihood
from matterscape.uq.reweighting import cumulant_expansion, direct_reweighting, several_observables
from matterscape.uq.scores import coverage, miscalibration_area

pytestmark = pytest.mark.peers

THERMAL_ENERGY = 0.8


@pytest.fixture(scope="module")
def ipi():
    """Functions of i-PI's command-line tool, which is installed as a script and cannot be imported by name."""
    pytest.importorskip("ipi")
    script = Path(sysconfig.get_path("scripts"), "i-pi-committee-reweight")
    if not script.is_file():
        pytest.skip(f"i-PI's tool is not installed as {script}")
    return runpy.run_path(str(script))


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2000, 8)), rng.normal(size=(2000, 8))


def test_cumulant_expansion_equals_ipi(ipi, frames):
    expected, _ = ipi["CEA"](*frames, THERMAL_ENERGY)
    ours = cumulant_expansion(*frames, beta=1 / THERMAL_ENERGY)
    np.testing.assert_allclose(ours, expected.T, rtol=0, atol=1e-10)
    swapped = cumulant_expansion(*frames[::-1], beta=1 / THERMAL_ENERGY)
    for other in (swapped, swapped.T):
        assert np.abs(other - expected.T).max() > 1e-3


@pytest.mark.filterwarnings("ignore::matterscape.uq.reweighting.ReweightingWarning")
def test_direct_reweighting_equals_ipi(ipi, frames):
    expected, _ = ipi["direct_reweight"](*frames, THERMAL_ENERGY)
    ours = direct_reweighting(*frames, beta=1 / THERMAL_ENERGY)
    np.testing.assert_allclose(ours, expected.T.astype(float), rtol=0, atol=1e-10)
    assert np.abs(direct_reweighting(*frames[::-1], beta=1 / THERMAL_ENERGY) - expected.T).max() > 1e-3


def test_several_observables_equal_ipi_once_its_arguments_are_in_order(ipi, frames):
    """i-PI exchanges potentials and observables in this routine; given them exchanged, its reweighting is right."""
    potentials, observables = frames[0], frames[1][:, :5]
    ours = several_observables(potentials, observables, beta=1 / THERMAL_ENERGY)
    averages, _ = ipi["CEA"](potentials, observables, THERMAL_ENERGY)  # (models, potentials)
    assert ours.variance == pytest.approx(np.var(averages, ddof=1), rel=1e-10)
    *_, theirs = ipi["uncertainty_CEA_multiple_models"](potentials, observables, THERMAL_ENERGY)
    assert abs(theirs / ours.variance - 1) > 0.01


@pytest.fixture
def predictions():
    rng = np.random.default_rng(1)
    deviations = rng.lognormal(sigma=0.5, size=3000)
    return 1.4 * deviations * rng.normal(size=3000), deviations


# The toolbox integrates on a grid, of 100 points unless told; far from calibration that is too coarse by 0.003.
@pytest.mark.parametrize(("factor", "n_points"), [(0.3, 2000), (1.0, 100), (1.4, 100), (4.0, 2000)])
def test_miscalibration_area_equals_uncertainty_toolbox(predictions, factor, n_points):
    metrics = pytest.importorskip("uncertainty_toolbox.metrics_calibration")
    errors, deviations = predictions
    expected = metrics.miscalibration_area(
        errors, factor * deviations, np.zeros(3000), num_bins=n_points, vectorized=True
    )
    assert miscalibration_area(errors, factor * deviations) == pytest.approx(expected, abs=5e-4)


def test_coverage_equals_uncertainty_toolbox(predictions):
    metrics = pytest.importorskip("uncertainty_toolbox.metrics_calibration")
    errors, deviations = predictions
    levels, expected = metrics.get_proportion_lists(errors, deviations, np.zeros(3000), num_bins=20)
    np.testing.assert_allclose(coverage(errors, deviations, levels), expected, rtol=0, atol=1e-12)


def test_scores_equal_uncertainty_toolbox(predictions):
    rules = pytest.importorskip("uncertainty_toolbox.metrics_scoring_rule")
    errors, deviations = predictions
    zero = np.zeros(3000)
    assert negative_log_likelihood(errors, deviations**2) == pytest.approx(rules.nll_gaussian(errors, deviations, zero))
    assert continuous_ranked_probability_score(errors, deviations**2) == pytest.approx(
        rules.crps_gaussian(errors, deviations, zero)
    )
