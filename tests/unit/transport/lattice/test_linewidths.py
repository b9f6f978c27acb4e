"""Widths of modes against the golden rule written out in SI units, meshes against supercells, symmetry."""

import math
from dataclasses import replace

import ase.build
import numpy as np
import pytest
from ase import units

from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice._linewidth_kernels import GAUSS, LORENTZ, TRIANGLE, broadened_delta
from matterscape.transport.lattice.cubic import cubic_force_constants
from matterscape.transport.lattice.linewidths import ModeCouplings, linewidths
from matterscape.transport.lattice.modes import UnstableModesError, VibrationalModes, vibrational_modes
from matterscape.transport.lattice.supercells import Supercell

pytestmark = pytest.mark.unit

TEMPERATURE, BROADENING = 400.0, 0.7


def modes_of(potential, structures: Structures, mesh=(1, 1, 1)) -> VibrationalModes:
    return vibrational_modes(potential.hessian(structures), mesh)


def golden_rule(modes: VibrationalModes, dense: np.ndarray, shape: str, statistics: str) -> np.ndarray:
    """Half widths in rad/ps at zero wavevector, with SI units and no trick."""
    omega = modes.angular_frequencies[0] * 1e12
    vibrating = modes.vibrating[0]
    vectors = modes.eigenvectors[0] / np.repeat(np.sqrt(modes.masses * units._amu), 3)[:, None]
    coupling = np.einsum("ijk,in,jm,kl->nml", dense * units._e * 1e30, vectors, vectors, vectors, optimize=True)
    x = units._hbar * omega / (units._k * TEMPERATURE)
    quanta = 1 / x if statistics == "classical" else 1 / np.expm1(x)
    width = 2 * np.pi * BROADENING * 1e12

    def delta(y):
        if shape == "gauss":
            return np.where(np.abs(y) < 2 * width, np.exp(-((y / width) ** 2)) / (np.sqrt(np.pi) * width), 0)
        if shape == "triangle":
            return np.maximum(1 - np.abs(y) / width, 0) / width
        return width / 2 / np.pi / (y**2 + width**2 / 4)

    own, first, second = omega[:, None, None], omega[None, :, None], omega[None, None, :]
    n_first, n_second = quanta[None, :, None], quanta[None, None, :]
    one = 0.0 if statistics == "classical" else 1.0
    terms = 0.5 * (one + n_first + n_second) * delta(own - first - second)
    terms = terms + (n_first - n_second) * delta(own + first - second)
    mask = vibrating[:, None, None] & vibrating[None, :, None] & vibrating[None, None, :]
    summand = np.where(mask, coupling**2 / (own * first * second) * terms, 0.0)
    return np.pi * units._hbar / 4 * summand.sum(axis=(1, 2)) / 2 * 1e-12


@pytest.mark.parametrize("shape", ["gauss", "triangle", "lorentz"])
@pytest.mark.parametrize("statistics", ["quantum", "classical"])
def test_golden_rule(shape, statistics):
    atoms = ase.build.bulk("Si", a=5.43, cubic=True)
    atoms.rattle(0.02, seed=1)  # no degenerate modes
    potential, structures = StillingerWeber.silicon(), Structures.from_ase(atoms)
    modes, third_order = modes_of(potential, structures), potential.third_order(structures)
    expected = golden_rule(modes, third_order.dense(), shape, statistics)
    options = {"broadening_THz": BROADENING, "shape": shape, "statistics": statistics}
    for keep in (True, False):
        found = linewidths(ModeCouplings(modes, third_order, keep=keep), TEMPERATURE, **options)
        np.testing.assert_allclose(found[0], expected, rtol=1e-6, atol=1e-9 * expected.max())
    assert expected.max() > 0.01


def test_a_mesh_and_its_supercell():
    """Means over levels, for a compound with dispersion along an odd mesh, from exact third derivatives."""
    potential = Tersoff.silicon_carbide()
    supercell = Supercell.repeated(ase.build.bulk("SiC", "zincblende", a=4.321), (3, 2, 1))
    modes = modes_of(potential, supercell.primitive, (3, 2, 1))
    couplings = ModeCouplings(modes, cubic_force_constants(potential, supercell))
    found = linewidths(couplings, [TEMPERATURE, 900.0], broadening_THz=BROADENING)
    whole = modes_of(potential, supercell.structures)
    expected = linewidths(
        ModeCouplings(whole, potential.third_order(supercell.structures)),
        [TEMPERATURE, 900.0],
        broadening_THz=BROADENING,
    )
    levels = np.unique(whole.frequencies_THz[0].round(4))
    assert len(levels) > 10
    for row in range(2):
        means = []
        for one, widths in ((modes, found[row]), (whole, expected[row])):
            own = np.searchsorted(levels, one.frequencies_THz.ravel() - 1e-3)
            means.append(np.bincount(own, widths.ravel()) / np.bincount(own))
        np.testing.assert_allclose(means[0], means[1], rtol=1e-5, atol=1e-8)
    assert found[1].sum() > 1.5 * found[0].sum()


def test_no_choice_of_degenerate_eigenvectors_matters():
    potential = StillingerWeber.silicon()
    supercell = Supercell.repeated(ase.build.bulk("Si", a=5.43), (2, 2, 2))
    modes = modes_of(potential, supercell.primitive, (2, 2, 2))
    rng = np.random.default_rng(0)
    turned = modes.eigenvectors.copy()
    for q, frequencies in enumerate(modes.frequencies_THz):
        for start in range(len(frequencies) - 1):
            if frequencies[start + 1] - frequencies[start] < 1e-5:
                unitary = np.linalg.qr(rng.normal(size=(2, 2)) + 1j * rng.normal(size=(2, 2)))[0]
                turned[q][:, start : start + 2] = turned[q][:, start : start + 2] @ unitary
    assert not np.allclose(turned, modes.eigenvectors)
    cubic = cubic_force_constants(potential, supercell)
    before, after = (
        linewidths(ModeCouplings(m, cubic), TEMPERATURE, broadening_THz=BROADENING)
        for m in (modes, replace(modes, eigenvectors=turned))
    )
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-9)


def test_classical_limit_and_proportionality_to_temperature():
    potential = StillingerWeber.silicon()
    structures = Structures.from_ase(ase.build.bulk("Si", a=5.43, cubic=True))
    couplings = ModeCouplings(modes_of(potential, structures), potential.third_order(structures))
    temperatures = [300.0, 600.0, 2e4]
    quantum, classical = (
        linewidths(couplings, temperatures, broadening_THz=BROADENING, statistics=s) for s in ("quantum", "classical")
    )
    np.testing.assert_allclose(classical[1], 2 * classical[0], rtol=1e-12)
    np.testing.assert_allclose(quantum[2], classical[2], rtol=1e-3, atol=1e-9)
    wide = classical[0] > 1e-6
    assert np.abs(quantum[0][wide] / classical[0][wide] - 1).max() > 0.05


def test_peaks_have_unit_area():
    x = np.linspace(-400, 400, 80_001)
    for shape, area in ((GAUSS, math.erf(2)), (TRIANGLE, 1.0), (LORENTZ, 2 / np.pi * np.arctan(800 / 1.3))):
        peak = np.array([broadened_delta(y, 1.3, shape) for y in x])
        assert np.trapezoid(peak, x) == pytest.approx(area, abs=1e-4)


def test_bad_input():
    potential = StillingerWeber.silicon()
    structures = Structures.from_ase(ase.build.bulk("Si", a=5.43, cubic=True))
    modes, third_order = modes_of(potential, structures), potential.third_order(structures)
    couplings = ModeCouplings(modes, third_order)
    with pytest.raises(ValueError, match="broadening_THz is 0"):
        linewidths(couplings, 300, broadening_THz=0)
    with pytest.raises(ValueError, match="shape is 'box'"):
        linewidths(couplings, 300, broadening_THz=1, shape="box")
    with pytest.raises(ValueError, match="temperature_K is -3"):
        linewidths(couplings, [300, -3], broadening_THz=1)
    with pytest.raises(TypeError, match="third_order is a ndarray"):
        ModeCouplings(modes, np.zeros(3))
    supercell = Supercell.repeated(ase.build.bulk("Si", a=5.43), (2, 1, 1))
    with pytest.raises(ValueError, match=r"modes are those of 8 atoms on the mesh \(1, 1, 1\)"):
        ModeCouplings(modes, cubic_force_constants(potential, supercell))
    with pytest.raises(ValueError, match="accepted are those of the 4 atoms"):
        ModeCouplings(modes, potential.third_order(supercell.structures))
    stretched = Structures.from_ase(ase.build.bulk("Si", a=7.0, cubic=True))
    with pytest.raises(UnstableModesError, match="do not vibrate"):
        ModeCouplings(modes_of(potential, stretched), third_order)
