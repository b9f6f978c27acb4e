"""Widths of modes against the golden rule written out in SI units, meshes against supercells, symmetry."""

import math
import warnings
from dataclasses import replace

import ase.build
import numpy as np
import pytest
from ase import units

from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice import linewidths as linewidths_module
from matterscape.transport.lattice import windowed_widths
from matterscape.transport.lattice._linewidth_kernels import GAUSS, LORENTZ, TRIANGLE, broadened_delta
from matterscape.transport.lattice.cubic import cubic_force_constants
from matterscape.transport.lattice.linewidths import ModeCouplings, linewidths
from matterscape.transport.lattice.modes import UnstableModesError, VibrationalModes, vibrational_modes
from matterscape.transport.lattice.supercells import Supercell

# cells this small have few levels
pytestmark = [pytest.mark.unit, pytest.mark.filterwarnings("ignore:the broadening of:UserWarning")]

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


def glass(repeats: int | tuple[int, int, int] = (2, 2, 1)) -> tuple[StillingerWeber, Structures]:
    atoms = ase.build.bulk("Si", a=5.43, cubic=True).repeat(repeats)
    atoms.rattle(0.04, seed=3)
    return StillingerWeber.silicon(), Structures.from_ase(atoms)


@pytest.mark.parametrize("shape", ["gauss", "triangle", "lorentz"])
def test_windows_leave_nothing_out(shape, monkeypatch):
    """Blocks of any size give the same widths; chosen modes have those they have among all."""
    potential, structures = glass()
    couplings = ModeCouplings(modes_of(potential, structures), potential.third_order(structures))
    options = {"broadening_THz": 0.3, "shape": shape}
    expected = linewidths(couplings, [300.0, 800.0], **options)
    assert (expected[:, 0, 3:] > 0).all() and (expected[:, 0, :3] == 0).all()
    chosen = [95, 3, 40, 41, 0, 77]
    found = linewidths(couplings, [300.0, 800.0], modes=chosen, **options)
    np.testing.assert_allclose(found, expected[:, 0, chosen], rtol=1e-6)
    for sizes in ((7, 1, 1), (96, 5, 200)):
        for name, size in zip(("MODES_PER_BLOCK", "MODES_PER_BATCH", "LEAST_MODES"), sizes):
            monkeypatch.setattr(windowed_widths, name, size)
        some = linewidths(couplings, 800.0, modes=chosen, **options)
        np.testing.assert_allclose(some, expected[1, 0, chosen], rtol=1e-6)
    np.testing.assert_allclose(linewidths(couplings, 300.0, **options), expected[0], rtol=1e-9)


@pytest.mark.parametrize("shape, statistics", [("gauss", "quantum"), ("triangle", "classical"), ("lorentz", "quantum")])
def test_single_precision_and_bodies_of_torch(shape, statistics, monkeypatch):
    potential, structures = glass((2, 1, 1))
    couplings = ModeCouplings(modes_of(potential, structures), potential.third_order(structures))
    options = {"broadening_THz": 0.4, "shape": shape, "statistics": statistics}
    expected = linewidths(couplings, [300.0, 50.0], **options)
    single = linewidths(couplings, [300.0, 50.0], single_precision=True, **options)
    np.testing.assert_allclose(single, expected, rtol=3e-5, atol=3e-6 * expected.max())
    monkeypatch.setattr(linewidths_module, "_compiled", lambda device: False)
    by_torch = linewidths(couplings, [300.0, 50.0], **options)
    chosen = linewidths(couplings, [300.0, 50.0], modes=range(0, 48, 5), **options)
    np.testing.assert_allclose(by_torch, expected, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(chosen, expected[:, 0, ::5], rtol=1e-6, atol=1e-12)


def test_interrupted_sums_go_on(tmp_path, monkeypatch):
    potential, structures = glass(1)
    couplings = ModeCouplings(modes_of(potential, structures), potential.third_order(structures))
    expected = linewidths(couplings, 300.0, broadening_THz=0.7)
    file = tmp_path / "widths.npz"
    compute, calls = windowed_widths.WindowedSum.of_triples, []

    def stopping(self, own):
        calls.append(len(own))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return compute(self, own)

    monkeypatch.setattr(windowed_widths, "MODES_PER_BATCH", 4)
    monkeypatch.setattr(windowed_widths.WindowedSum, "of_triples", stopping)
    with pytest.raises(KeyboardInterrupt):
        linewidths(couplings, 300.0, broadening_THz=0.7, file=file)
    np.testing.assert_allclose(linewidths(couplings, 300.0, broadening_THz=0.7, file=file), expected, rtol=1e-12)
    assert len(calls) == 1 + -(-21 // 4)  # the first batch was not computed again
    linewidths(couplings, 300.0, broadening_THz=0.7, file=file)
    assert len(calls) == 1 + -(-21 // 4)
    with pytest.raises(ValueError, match="work on other modes, third order, temperatures or broadening"):
        linewidths(couplings, 301.0, broadening_THz=0.7, file=file)
    softer = replace(couplings.third_order, values=0.9 * couplings.third_order.values)
    with pytest.raises(ValueError, match="work on other modes, third order, temperatures or broadening"):
        linewidths(ModeCouplings(couplings.modes, softer), 300.0, broadening_THz=0.7, file=file)


def test_on_a_cluster():
    distributed = pytest.importorskip("distributed")
    potential, structures = glass(1)
    couplings = ModeCouplings(modes_of(potential, structures), potential.third_order(structures))
    with distributed.Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as client:
        for modes in (None, [5, 6, 20]):
            there = linewidths(couplings, [300.0, 500.0], broadening_THz=0.7, modes=modes, client=client)
            here = linewidths(couplings, [300.0, 500.0], broadening_THz=0.7, modes=modes)
            np.testing.assert_array_equal(there, here)


def test_warnings_of_broadenings_too_wide_and_too_narrow():
    potential, structures = glass(1)
    modes = modes_of(potential, structures)
    couplings = ModeCouplings(modes, potential.third_order(structures))
    lowest = modes.frequencies_THz[0, 3]
    with pytest.warns(UserWarning, match="wider than the frequency of 1 modes"):
        linewidths(couplings, 300.0, broadening_THz=1.0001 * lowest)
    with pytest.warns(UserWarning, match=r"narrower than the spacing of the levels of pairs for \d+ of 21 modes"):
        linewidths(couplings, 300.0, broadening_THz=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linewidths(couplings, 300.0, broadening_THz=0.9 * lowest)


def test_third_derivatives_of_another_potential_are_refused():
    potential, structures = glass(3)
    modes = modes_of(Tersoff.silicon(), structures)
    ModeCouplings(modes, Tersoff.silicon().third_order(structures))
    with pytest.raises(ValueError, match="third_order breaks the sum rule of rotations"):
        ModeCouplings(modes, potential.third_order(structures))
    moved = structures.to_ase()[0]
    moved.rattle(0.01, seed=9)
    with pytest.raises(ValueError, match="third_order belongs to other positions than the modes"):
        ModeCouplings(modes, Tersoff.silicon().third_order(Structures.from_ase(moved)))


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
    for bad in ([24], [], [-1], [1.5]):
        with pytest.raises(ValueError, match=r"modes are \[|place of modes is"):
            linewidths(couplings, 300, broadening_THz=1, modes=bad)
    with pytest.raises(ValueError, match="file is 'x'; accepted is None for chosen modes"):
        linewidths(couplings, 300, broadening_THz=1, modes=[5], file="x")
    crystal = Supercell.repeated(ase.build.bulk("Si", a=5.43), (2, 1, 1))
    of_mesh = ModeCouplings(
        modes_of(potential, crystal.primitive, (2, 1, 1)), cubic_force_constants(potential, crystal)
    )
    with pytest.raises(ValueError, match="modes is .*accepted is None for the modes of a crystal"):
        linewidths(of_mesh, 300, broadening_THz=1, modes=[5])
    with pytest.raises(ValueError, match=r"modes are those of 8 atoms on the mesh \(1, 1, 1\)"):
        ModeCouplings(modes, cubic_force_constants(potential, supercell))
    with pytest.raises(ValueError, match="accepted are those of the 4 atoms"):
        ModeCouplings(modes, potential.third_order(supercell.structures))
    stretched = Structures.from_ase(ase.build.bulk("Si", a=7.0, cubic=True))
    with pytest.raises(UnstableModesError, match="do not vibrate"):
        ModeCouplings(modes_of(potential, stretched), third_order)
