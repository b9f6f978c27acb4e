"""Reweighting against brute force, Gaussian theory and oscillators whose averages are known."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from ase import units

from matterscape.uq.reweighting import (
    ReweightingWarning,
    block_bootstrap,
    cumulant_expansion,
    direct_reweighting,
    effective_sample_fraction,
    integrated_correlation_time,
    reduced_differences,
    several_observables,
)

pytestmark = pytest.mark.unit


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    return 0.4 * rng.normal(size=(500, 6)) - 300.0, rng.normal(size=(500, 3))


def test_both_estimates_equal_their_definitions(frames):
    potentials, observables = frames
    beta = 0.7
    h = beta * (potentials - potentials.mean(axis=1, keepdims=True))
    for k in range(6):
        weights = np.exp(-h[:, k])
        for p in range(3):
            a = observables[:, p]
            assert direct_reweighting(potentials, observables, beta=beta)[k, p] == pytest.approx(
                (a * weights).mean() / weights.mean(), rel=1e-9
            )
            assert cumulant_expansion(potentials, observables, beta=beta)[k, p] == pytest.approx(
                a.mean() - ((a * h[:, k]).mean() - a.mean() * h[:, k].mean()), abs=1e-12
            )
    assert effective_sample_fraction(potentials, beta=beta)[5] == pytest.approx(
        weights.sum() ** 2 / np.sum(weights**2) / 500, rel=1e-9
    )


def test_one_series_of_observables_loses_its_axis(frames):
    potentials, observables = frames
    for method in (cumulant_expansion, direct_reweighting):
        single = method(potentials, torch.tensor(observables[:, 1]), beta=0.7)
        np.testing.assert_allclose(single, method(potentials, observables, beta=0.7)[:, 1], rtol=1e-12)


def test_temperature_is_in_kelvin_for_energies_in_electronvolt(frames):
    potentials, observables = frames[0] / 50, frames[1]
    for method in (cumulant_expansion, direct_reweighting):
        np.testing.assert_array_equal(
            method(potentials, observables, temperature_K=300.0),
            method(potentials, observables, beta=1 / (units.kB * 300.0)),
        )
    with pytest.warns(ReweightingWarning, match="0.0259 K; if it is k_B T in eV, give beta=38.61"):
        effective_sample_fraction(potentials, temperature_K=0.0259)


def test_constants_added_to_potentials_change_nothing(frames):
    potentials, observables = frames
    shifts = 1e3 * np.random.default_rng(1).normal(size=6)
    for method in (cumulant_expansion, direct_reweighting, several_observables):
        before, after = (method(v, observables, beta=0.7) for v in (potentials, potentials + shifts))
        if method is several_observables:
            before, after = before.variance, after.variance
        np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(
        effective_sample_fraction(potentials + shifts, beta=0.7), effective_sample_fraction(potentials, beta=0.7)
    )


def test_equal_potentials_give_the_plain_average(frames):
    _, observables = frames
    common = np.repeat(observables[:, :1] * 50, 4, axis=1)
    for method in (cumulant_expansion, direct_reweighting):
        np.testing.assert_allclose(method(common, observables, beta=1.0), np.tile(observables.mean(0), (4, 1)))
    np.testing.assert_allclose(effective_sample_fraction(common, beta=1.0), 1.0)


def test_cumulant_expansion_is_exact_for_gaussians():
    """For jointly Gaussian a and h the reweighted average is <a> - cov(a, h), at any strength of h."""
    rng = np.random.default_rng(2)
    n = 10**6
    h = 1.5 * rng.normal(size=n)
    a = 2.0 + 0.6 * h + 0.8 * rng.normal(size=n)
    potentials = np.stack([h, -h], axis=1)  # their mean vanishes, so that h is that of the first member
    estimate = cumulant_expansion(potentials, a, beta=1.0)
    standard_error = np.sqrt(np.var((a - a.mean()) * (h - h.mean()) - a) / n)
    exact = np.array([2.0 - 0.6 * 2.25, 2.0 + 0.6 * 2.25])
    assert np.abs(estimate - exact).max() < 4 * standard_error
    with pytest.warns(ReweightingWarning):  # exp(-2.25) is above a tenth, but the spread is 1.5
        direct = direct_reweighting(potentials, a, beta=1.0)
    np.testing.assert_allclose(direct, exact, atol=0.05)
    np.testing.assert_allclose(effective_sample_fraction(potentials, beta=1.0), np.exp(-2.25), rtol=0.2)


def test_direct_reweighting_survives_huge_differences():
    rng = np.random.default_rng(3)
    potentials, observables = 1e3 * rng.normal(size=(400, 3)), rng.normal(size=400)
    with pytest.warns(ReweightingWarning) as caught:
        averages = direct_reweighting(potentials, observables, beta=1.0)
    h = potentials - potentials.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(averages, observables[np.argmin(h, axis=0)])  # one frame carries all the weight
    messages = " ".join(str(warning.message) for warning in caught)
    assert "few frames carry most of the weight" in messages
    assert "the effective sample of a member is 0.25 % of the frames" in messages


def test_warnings_come_with_the_spread_that_causes_them():
    rng = np.random.default_rng(4)
    h = rng.normal(size=(2000, 1)) * [1.0, -1.0]
    observables = rng.normal(size=2000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cumulant_expansion(2.8 * h, observables, beta=1.0)
        direct_reweighting(0.9 * h, observables, beta=1.0)
    with pytest.warns(ReweightingWarning, match="standard deviation of 3.2, more than 3; higher cumulants"):
        cumulant_expansion(3.2 * h, observables, beta=1.0)
    with pytest.warns(ReweightingWarning, match="standard deviation of 1.2, more than 1; few frames"):
        direct_reweighting(1.2 * h, observables, beta=1.0)


def test_swapped_arguments_give_another_result(frames):
    potentials, observables = frames
    observables = np.concatenate([observables, observables**2], axis=1)
    right = cumulant_expansion(potentials, observables, beta=0.7)
    swapped = cumulant_expansion(observables, potentials, beta=0.7)
    assert swapped.shape == right.shape
    for wrong in (swapped, swapped.T):
        assert np.abs(wrong - right).max() > 0.01


def test_several_observables_are_the_variance_over_all_pairs(frames):
    potentials, observables = frames
    observables = observables + 0.3 * potentials[:, :3]  # so that the potentials matter
    result = several_observables(potentials, observables, beta=0.7)
    pairs = [
        cumulant_expansion(potentials, observables[:, j], beta=0.7)[k] for j in range(3) for k in range(6)
    ]  # one by one
    assert result.variance == pytest.approx(np.var(pairs, ddof=1), rel=1e-12)
    assert result.mean == pytest.approx(np.mean(pairs), rel=1e-12)
    assert result.observable_variance == pytest.approx(observables.mean(axis=0).var(ddof=1), rel=1e-10)
    weights = np.array([6 * (3 - 1), (6 - 1) * 3]) / (6 * 3 - 1)
    assert result.variance == pytest.approx(weights @ [result.observable_variance, result.potential_variance])


def test_pairs_underestimate_the_sum_of_two_independent_sources():
    """With few models the variance over all pairs is low; the sum of both parts is right on average."""
    rng = np.random.default_rng(5)
    n_models, n_potentials, pooled, summed = 3, 4, [], []
    h = rng.normal(size=5000)
    h = (h - h.mean()) / h.std()
    for _ in range(600):
        slopes = rng.normal(size=n_potentials)  # of h with the only collective variable: shifts averages by slopes
        offsets = 1.5 * rng.normal(size=n_models)
        result = several_observables(np.outer(h, slopes), h[:, None] + offsets, beta=1.0)
        pooled.append(result.variance)
        summed.append(result.observable_variance + result.potential_variance)
    assert np.mean(summed) == pytest.approx(1.0 + 2.25, rel=0.1)
    assert np.mean(pooled) == pytest.approx((4 * 2 * 2.25 + 3 * 3 * 1.0) / 11, rel=0.1)
    assert np.mean(pooled) < 0.85 * np.mean(summed)


# ---- an exactly solvable case ----------------------------------------------------------------------------------------


def oscillators(n_oscillators, n_frames=1000, n_members=16, seed=0):
    """Independent anharmonic oscillators at beta = 1: member energies, observable <x^2>, exact averages of members."""
    rng = np.random.default_rng(seed)
    stiffness, quartic = 1.0 + 0.15 * rng.normal(size=n_members), 0.1 * (1 + 0.10 * rng.normal(size=n_members))
    x = np.linspace(-7, 7, 4001)

    def density(k, g):
        values = np.exp(-0.5 * k * x**2 - g * x**4)
        return values / values.sum()

    exact = np.array([density(k, g) @ x**2 for k, g in zip(stiffness, quartic)])
    cumulative = np.cumsum(density(stiffness.mean(), quartic.mean()))
    squares = np.interp(rng.random((n_frames, n_oscillators)), cumulative, x) ** 2
    second, fourth = squares.sum(axis=1), (squares**2).sum(axis=1)
    return 0.5 * np.outer(second, stiffness) + np.outer(fourth, quartic), second / n_oscillators, exact


@pytest.fixture(scope="module")
def laboratory():
    """Pooled over realisations: std(h), rms errors of both estimates, and ratios of spreads to the true one."""
    results = {}
    for n_oscillators, n_repeats in ((64, 6), (1024, 6), (4096, 4)):
        rows = []
        for seed in range(n_repeats):
            potentials, observable, exact = oscillators(n_oscillators, seed=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ReweightingWarning)
                estimates = [f(potentials, observable, beta=1.0) for f in (direct_reweighting, cumulant_expansion)]
            rows.append(
                [
                    reduced_differences(potentials, beta=1.0).std(axis=0).mean(),
                    *(np.mean((estimate - exact) ** 2) for estimate in estimates),
                    *(estimate.std(ddof=1) / exact.std(ddof=1) for estimate in estimates),
                ]
            )
        means = np.mean(rows, axis=0)
        results[n_oscillators] = [means[0], *np.sqrt(means[1:3]), *means[3:]]
    return results


def test_both_estimates_serve_while_differences_are_small(laboratory):
    spread, direct, cumulant, direct_ratio, cumulant_ratio = laboratory[64]
    assert spread < 0.5
    assert direct < 1.2 * cumulant
    assert direct_ratio == pytest.approx(1.0, abs=0.1) and cumulant_ratio == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("n_oscillators", [1024, 4096])
def test_the_cumulant_expansion_wins_in_large_systems(laboratory, n_oscillators):
    spread, direct, cumulant, _, cumulant_ratio = laboratory[n_oscillators]
    assert spread > 1.2
    assert direct > 1.7 * cumulant
    assert cumulant_ratio == pytest.approx(1.0, abs=0.1)


def test_direct_reweighting_hides_the_spread_of_members_in_large_systems(laboratory):
    spread, _, _, direct_ratio, _ = laboratory[4096]
    assert spread == pytest.approx(2.9, abs=0.5)
    assert direct_ratio < 0.75


# ---- correlated frames -----------------------------------------------------------------------------------------------


def autoregressive(memory, n_frames, n_columns, seed):
    rng = np.random.default_rng(seed)
    noise = np.sqrt(1 - memory**2) * rng.normal(size=(n_frames, n_columns))
    rows = np.empty_like(noise)
    rows[0] = rng.normal(size=n_columns)
    for t in range(1, n_frames):
        rows[t] = memory * rows[t - 1] + noise[t]
    return rows


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_correlation_time_of_an_autoregressive_process(memory):
    expected = 0.5 * (1 + memory) / (1 - memory)
    times = integrated_correlation_time(autoregressive(memory, 20_000, 4, seed=6))
    np.testing.assert_allclose(times, expected, rtol=0.15)


def test_correlation_time_of_special_series():
    assert integrated_correlation_time(np.full(50, -1234.567)) == 0.5
    assert integrated_correlation_time(np.tile([1.0, -1.0], 50)) == 0.5  # anticorrelated frames are not worth more
    assert integrated_correlation_time(np.arange(100.0)) > 10  # a drift
    series = autoregressive(0.8, 3000, 1, seed=7)[:, 0]
    assert integrated_correlation_time(1e6 + 1e-3 * series) == pytest.approx(
        integrated_correlation_time(series), rel=1e-6
    )


def test_bootstrap_error_is_the_scatter_of_independent_repeats():
    """Errors from blocks agree with the truth for correlated frames; errors from single frames are far too small."""
    memory, n_frames = 0.9, 4000
    estimates, errors, naive = [], [], []
    for seed in range(60):
        rows = autoregressive(memory, n_frames, 4, seed=seed)
        potentials, observable = 0.3 * rows[:, :3], rows[:, 3] + rows[:, 0]
        estimate = partial(cumulant_expansion, beta=1.0)
        estimates.append(estimate(potentials, observable))
        if seed < 6:
            errors.append(block_bootstrap(estimate, potentials, observable, n_resamples=60))
            naive.append(block_bootstrap(estimate, potentials, observable, n_resamples=60, block_length=1))
    scatter = np.std(estimates, axis=0, ddof=1).mean()
    assert np.mean(errors) == pytest.approx(scatter, rel=0.25)
    assert np.mean(naive) < 0.5 * scatter


def test_bootstrap_of_a_mean_of_independent_frames():
    values = np.random.default_rng(8).normal(size=(3000, 2))
    error = block_bootstrap(lambda rows: rows.mean(axis=0), values, seed=1)
    np.testing.assert_allclose(error, values.std(axis=0) / np.sqrt(3000), rtol=0.2)
    np.testing.assert_array_equal(error, block_bootstrap(lambda rows: rows.mean(axis=0), values, seed=1))


def test_bootstrap_warns_of_few_blocks():
    with pytest.warns(ReweightingWarning, match="only 3 blocks of 20 correlated frames fit into 60"):
        block_bootstrap(np.mean, np.arange(60.0), block_length=20)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda v, a: cumulant_expansion(v, a),
            "exactly one of temperature_K and beta must be given, got None and None",
        ),
        (lambda v, a: cumulant_expansion(v, a, temperature_K=300, beta=1), "exactly one of temperature_K and beta"),
        (
            lambda v, a: direct_reweighting(v, a, temperature_K=0.0),
            "temperature_K is 0.0; accepted is a positive number",
        ),
        (lambda v, a: direct_reweighting(v, a, temperature_K=-3.0), "temperature_K is -3.0"),
        (lambda v, a: direct_reweighting(v, a, beta=np.nan), "beta is nan; accepted is a positive number"),
        (lambda v, a: cumulant_expansion(v, a[:-1], beta=1.0), "one row for each of the 500 frames, got 499"),
        (lambda v, a: cumulant_expansion(v[:, :1], a, beta=1.0), "at least two frames and two members"),
        (lambda v, a: cumulant_expansion(v[:1], a[:1], beta=1.0), "at least two frames and two members"),
        (lambda v, a: cumulant_expansion(v * np.nan, a, beta=1.0), "potentials must be finite"),
        (lambda v, a: cumulant_expansion(v, a * np.inf, beta=1.0), "observables must be finite"),
        (lambda v, a: several_observables(v, a[:, :1], beta=1.0), "at least two models, got shape \\(500, 1\\)"),
        (lambda v, a: several_observables(v, a[:, 0], beta=1.0), "at least two models, got shape \\(500,\\)"),
        (lambda v, a: integrated_correlation_time(a[:1]), "at least two frames, got 1"),
        (lambda v, a: block_bootstrap(np.mean), "series must hold at least one array"),
        (lambda v, a: block_bootstrap(np.mean, 3.0), "one entry for each frame, got a single number"),
        (lambda v, a: block_bootstrap(np.mean, v, a[1:]), "the same number of frames, got \\[500, 499\\]"),
        (lambda v, a: block_bootstrap(np.mean, v, block_length=501), "must not exceed the 500 frames, got 501"),
        (lambda v, a: block_bootstrap(np.mean, v, n_resamples=1), "n_resamples is 1; accepted is a whole number"),
    ],
)
def test_bad_input_meets_a_sentence(frames, call, message):
    with pytest.raises(ValueError, match=message):
        call(*frames)
    with pytest.raises(TypeError, match="potentials must hold real numbers"):
        cumulant_expansion(np.full((3, 3), "a"), np.ones(3), beta=1.0)
