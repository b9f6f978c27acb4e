"""Effective springs: the static limit in closed form, Born's limit, the perfect lattice, and measured widths."""

import numpy as np
import pytest

from matterscape.transport.lattice.sound import fit_sound_waves
from matterscape.transport.lattice.spectral.density_of_states import density_of_states
from matterscape.transport.lattice.spectral.spring_lattices import CUBIC_EDGE, spring_lattice
from matterscape.transport.lattice.spectral.spring_medium import effective_half_widths, effective_springs
from matterscape.transport.lattice.spectral.wave_chains import wave_chains

pytestmark = pytest.mark.unit

OMEGA = np.linspace(0.3, 1.2, 46)


def test_static_springs_solve_the_equation_of_a_bond():
    """At omega = 0 half of a bond's stretch is its own: <(K - K_m) / (K + K_m)> = 0, over K uniform."""
    found = effective_springs(np.zeros(1), 0.9, 1e-3)[0]
    assert abs(found.imag) < 1e-5
    springs = np.linspace(0.1, 1.9, 200_001)
    assert np.mean((springs - found.real) / (springs + found.real)) == pytest.approx(0, abs=2e-5)


def test_weak_disorder_is_born():
    """Gamma = pi delta^2 omega^2 rho / 72, rho the modes per site and frequency of the perfect lattice."""
    found = effective_half_widths(OMEGA, 0.05, 0.01)
    density = density_of_states(spring_lattice(14, 0.0).matrix, OMEGA, 100, n_vectors=8).values / (4 * 14**3)
    born = np.pi * 0.05**2 * OMEGA**2 * density / 72
    # single frequencies feel the shells of waves of the small lattice that the density was taken from
    assert (found / born)[OMEGA > 0.6].mean() == pytest.approx(1, abs=0.03)


def test_rayleigh_in_the_limit_of_slow_waves():
    omega = np.linspace(0.1, 0.3, 41)
    widths = effective_half_widths(omega, 0.9)
    assert np.polyfit(np.log(omega), np.log(widths), 1)[0] == pytest.approx(4, abs=0.15)
    faster = np.linspace(0.5, 0.8, 41)
    assert np.polyfit(np.log(faster), np.log(effective_half_widths(faster, 0.9)), 1)[0] > 4.4


def test_perfect_lattice_does_not_damp():
    np.testing.assert_array_equal(effective_springs(OMEGA, 0.0, 0.01), 1)
    np.testing.assert_allclose(effective_half_widths(OMEGA, 0.0, 0.01), 0, atol=1e-15)


def test_widths_are_those_of_a_lattice():
    """One lattice of 4000 sites, waves whose line is much broader than the distance of its shells of waves."""
    lattice = spring_lattice(10, 0.9, seed=3)
    unit = 2 * np.pi / (10 * CUBIC_EDGE)
    chains = wave_chains(
        lattice.matrix, lattice.structures, 2 * unit * np.eye(3), "longitudinal", 120, masses=lattice.masses
    )
    waves = fit_sound_waves(chains.structure_factor(np.linspace(0.5, 1.1, 200), 0.06))
    expected = np.interp(waves.frequencies[0], OMEGA, effective_half_widths(OMEGA, 0.9))
    assert waves.half_widths[0] == pytest.approx(expected, rel=0.3)


def test_refused():
    with pytest.raises(ValueError, match="disorder is 2"):
        effective_springs(OMEGA, 2, 0.01)
    with pytest.raises(ValueError, match="broadening is 0"):
        effective_springs(OMEGA, 0.5, 0)
    with pytest.raises(ValueError, match="two or more positive numbers that ascend"):
        effective_half_widths(OMEGA[::-1], 0.5)
