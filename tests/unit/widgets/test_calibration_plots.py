"""Plots of errors against standard deviations without a browser."""

import numpy as np
import pytest

from matterscape_widgets.calibration_plots import ErrorPlot, ReliabilityPlot, guide_bands, reliability_series

pytestmark = pytest.mark.unit


@pytest.fixture
def honest():
    rng = np.random.default_rng(0)
    deviations = np.exp(rng.uniform(-2, 1, 20_000))
    return rng.normal(size=20_000) * deviations, deviations


@pytest.mark.parametrize(
    ("lines", "shares"), [("density", [0.6827, 0.9545, 0.9973]), ("quantile", [0.7, 0.9, 0.99])], ids=str
)
def test_bands_hold_what_their_names_say(honest, lines, shares):
    errors, deviations = honest
    bands = guide_bands(deviations.min(), deviations.max(), lines=lines)
    for band, share in zip(bands.values(), shares):
        low, high = band.low[0] / band.x[0], band.high[0] / band.x[0]
        within = (np.abs(errors) > low * deviations) & (np.abs(errors) < high * deviations)
        assert within.mean() == pytest.approx(share, abs=0.01)
        np.testing.assert_allclose(band.y, band.x)


def test_bands_span_the_samples_and_points_are_absolute_errors(honest):
    errors, deviations = honest
    plot = ErrorPlot({"test": honest, "twice": (errors, 2 * deviations)}, unit="eV")
    assert list(plot.series) == ["test", "twice", "68 % of errors", "95 %", "99.7 %"]
    floor = 1e-3 * np.sqrt(np.mean(errors**2))
    np.testing.assert_allclose(plot.series["test"].y, np.maximum(np.abs(errors), floor))
    band = plot.series["95 %"]
    assert band.x[0] < deviations.min() and band.x[1] > 2 * deviations.max()
    assert (plot.x_label, plot.y_label) == ("predicted standard deviation (eV)", "|error| (eV)")


def test_an_error_of_zero_is_drawn_at_the_floor():
    plot = ErrorPlot({"a": ([0.0, 3.0, -4.0], [1.0, 1.0, 2.0])})
    np.testing.assert_allclose(plot.series["a"].y, [1e-3 * np.sqrt(25 / 3), 3.0, 4.0])
    ErrorPlot({"exact": ([0.0, 0.0], [1.0, 2.0])})  # all errors vanish


def test_reliability_of_honest_and_of_halved_deviations(honest):
    errors, deviations = honest
    curve = reliability_series(errors, deviations, 8)
    assert len(curve.x) == 8 and (np.diff(curve.x) > 0).all()
    np.testing.assert_allclose(np.array(curve.y) / curve.x, 1, atol=0.06)
    np.testing.assert_allclose((np.array(curve.high) - curve.low) / 2 / curve.y, 1 / np.sqrt(2 * 2500))
    halved = reliability_series(errors, deviations / 2, 8)
    np.testing.assert_allclose(np.array(halved.y) / halved.x, 2, atol=0.12)


def test_the_diagonal_spans_the_curves(honest):
    errors, deviations = honest
    plot = ReliabilityPlot({"halved": (errors, deviations / 2)}, n_bins=5)
    diagonal, curve = plot.series["honest"], plot.series["halved"]
    np.testing.assert_allclose(diagonal.x, diagonal.y)
    assert diagonal.x[0] <= curve.x.min() and diagonal.x[1] >= np.max(curve.high)


def test_show_replaces_the_samples(honest):
    plot = ErrorPlot()
    assert plot.series == {}
    plot.show({"new": honest})
    assert "new" in plot.series
    empty = ReliabilityPlot({"a": honest})
    empty.show({})
    assert empty.series == {}


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (([1.0, 2.0], [1.0]), "deviations of 'a' has 1 values, but 2 are needed"),
        (([1.0], [0.0]), "deviations of 'a' contain 0, but must be positive"),
        (([np.nan], [1.0]), "errors of 'a' contain nan"),
        (([np.inf], [1.0]), r"errors of 'a'\[0\] is inf"),
    ],
)
@pytest.mark.parametrize("kind", [ErrorPlot, ReliabilityPlot])
def test_bad_samples_meet_a_sentence_and_leave_the_old_ones(honest, kind, sample, message):
    plot = kind({"a": honest})
    before = list(plot.series)
    with pytest.raises(ValueError, match=message):
        plot.show({"a": sample})
    assert "'a'" in plot.error and list(plot.series) == before
    plot.show({"a": honest})
    assert plot.error == ""


def test_unknown_lines_and_ranges():
    with pytest.raises(ValueError, match="lines is 'contour', but must be one of density, quantile"):
        ErrorPlot(lines="contour")
    with pytest.raises(ValueError, match="lines is 'contour'"):
        guide_bands(1, 2, lines="contour")
    with pytest.raises(ValueError, match="must be positive and in order"):
        guide_bands(2, 1)
