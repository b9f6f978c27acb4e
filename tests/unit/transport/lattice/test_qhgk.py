"""The QHGK sum against the formula written out in SI units, its limits, and what each mode contributes."""

from dataclasses import replace

import ase.build
import numpy as np
import pytest
from ase import units

from matterscape.potentials.force_constants import ForceConstants
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice import modes as modes_module
from matterscape.transport.lattice._qhgk_kernels import SMALL, exchange_capacity
from matterscape.transport.lattice.allen_feldman import allen_feldman_scan
from matterscape.transport.lattice.constants import BOLTZMANN, CONDUCTIVITY
from matterscape.transport.lattice.cubic import cubic_force_constants
from matterscape.transport.lattice.harmonic import nearest_images
from matterscape.transport.lattice.linewidths import ModeCouplings, linewidths
from matterscape.transport.lattice.modes import UnstableModesError, VibrationalModes, vibrational_modes
from matterscape.transport.lattice.occupations import heat_capacities
from matterscape.transport.lattice.qhgk import KINDS, qhgk
from matterscape.transport.lattice.supercells import Supercell

pytestmark = pytest.mark.unit

MESH = (3, 2, 1)


def crystal() -> tuple[Supercell, VibrationalModes, VibrationalModes]:
    """A crystal with its modes on a mesh and those of its supercell."""
    potential = Tersoff.silicon_carbide()
    supercell = Supercell.repeated(ase.build.bulk("SiC", "zincblende", a=4.321), MESH)
    return (
        supercell,
        vibrational_modes(potential.hessian(supercell.primitive), MESH),
        vibrational_modes(potential.hessian(supercell.structures)),
    )


def glass(repeats: tuple[int, int, int] = (2, 1, 1)) -> VibrationalModes:
    atoms = ase.build.bulk("Si", a=5.43, cubic=True).repeat(repeats)
    atoms.rattle(0.05, seed=2)
    return vibrational_modes(StillingerWeber.silicon().hessian(Structures.from_ase(atoms)))


def some_widths(modes: VibrationalModes) -> np.ndarray:
    """Half widths in rad/ps that depend on the frequency alone."""
    return 0.3 + 0.02 * modes.frequencies_THz**2


def written_out(modes: VibrationalModes, widths: np.ndarray, temperature: float) -> np.ndarray:
    """Tensor in W/(m K) of real modes, from the second derivatives pair by pair, in SI units."""
    constants = modes.force_constants
    masses = modes.masses * units._amu
    vibrating = modes.vibrating[0]
    omega, gamma = modes.angular_frequencies[0][vibrating] * 1e12, widths[0][vibrating] * 1e12
    vectors = modes.eigenvectors[0][:, vibrating].reshape(len(masses), 3, -1)
    velocity = np.zeros((3, len(omega), len(omega)))
    for i, j, block, vector in zip(constants.first, constants.second, constants.blocks, constants.vectors):
        matrix = block * units._e * 1e20 / np.sqrt(masses[i] * masses[j])
        velocity += -vector[:, None, None] * 1e-10 * (vectors[i].T @ matrix @ vectors[j])
    velocity /= 2 * np.sqrt(omega[:, None] * omega)
    x = units._hbar * omega / (units._k * temperature)
    quanta = 1 / np.expm1(x)
    total = np.zeros((3, 3))
    for n in range(len(omega)):
        for m in range(len(omega)):
            own = units._k * x[n] ** 2 * quanta[n] * (quanta[n] + 1)
            if abs(x[n] - x[m]) > 1e-7:
                own = units._hbar * omega[n] * omega[m] / temperature
                own *= (quanta[n] - quanta[m]) / (omega[m] - omega[n])
            lifetime = (gamma[n] + gamma[m]) / ((gamma[n] + gamma[m]) ** 2 + (omega[n] - omega[m]) ** 2)
            total += own * lifetime * np.outer(velocity[:, n, m], velocity[:, n, m])
    return total / (modes.volume * 1e-30)


def test_written_out():
    _, _, modes = crystal()
    found = qhgk(modes, some_widths(modes), 350.0)
    np.testing.assert_allclose(found.tensor, written_out(modes, some_widths(modes), 350.0), rtol=1e-6, atol=1e-8)
    assert np.linalg.eigvalsh(found.tensor).min() > 0.1
    np.testing.assert_allclose(found.mode_tensors.sum(axis=(0, 1)), found.tensor)
    assert found.value == pytest.approx(np.trace(found.tensor) / 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mesh_and_its_supercell(kind):
    _, mesh, whole = crystal()
    one, other = (qhgk(m, some_widths(m), 300.0, statistics="classical", kind=kind) for m in (mesh, whole))
    np.testing.assert_allclose(one.tensor, other.tensor, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(one.diagonal, other.diagonal, rtol=1e-8, atol=1e-8)
    assert one.diffusivities.sum() == pytest.approx(other.diffusivities.sum(), rel=1e-8)


def test_conductivity_with_its_own_widths_in_both_pictures():
    supercell, mesh, whole = crystal()
    potential = Tersoff.silicon_carbide()
    values = []
    for modes, third in (
        (mesh, cubic_force_constants(potential, supercell)),
        (whole, potential.third_order(supercell.structures)),
    ):
        widths = linewidths(ModeCouplings(modes, third), 300.0, broadening_THz=2.0)
        widths = np.maximum(widths, 1e-3)  # a mesh this coarse leaves modes without a decay
        values.append(qhgk(modes, widths, 300.0).tensor)
    np.testing.assert_allclose(values[0], values[1], rtol=1e-4, atol=1e-6)


def test_diagonal_is_the_gas_of_phonons():
    """sum C v v / 2 g V with velocities that diagonalise each degenerate set."""
    _, modes, _ = crystal()
    widths, temperature = some_widths(modes), 300.0
    total = np.zeros(3)
    for q, frequencies in enumerate(modes.frequencies_THz):
        velocity = modes.velocity_operator(q)
        groups = np.concatenate([[0], np.cumsum(np.diff(frequencies) > 1e-5)])
        for group in np.unique(groups):
            own = np.flatnonzero((groups == group) & modes.vibrating[q])
            if len(own) == 0:
                continue
            capacity = heat_capacities(modes.angular_frequencies[q, own[:1]], temperature)[0]
            for axis in range(3):
                speeds = np.linalg.eigvalsh(velocity[axis][np.ix_(own, own)])
                total[axis] += capacity * (speeds**2).sum() / (2 * widths[q, own[0]])
    expected = units._k * 1e22 * total / (modes.volume * len(modes.wavevectors))
    found = qhgk(modes, widths, temperature)
    np.testing.assert_allclose(np.diag(found.diagonal), expected, rtol=1e-6)
    assert 0 < np.trace(found.diagonal) < np.trace(found.tensor)


def test_a_crystal_in_its_supercell_is_a_gas_of_phonons():
    """Silicon, 3 x 3 x 3 cells at zero wavevector: sum_q C v v / 2 g V over the commensurate mesh."""
    primitive = ase.build.bulk("Si", a=5.432)
    potential = Tersoff.silicon()
    supercell = Supercell.repeated(primitive, (3, 3, 3))
    mesh = vibrational_modes(potential.hessian(supercell.primitive), (3, 3, 3))
    whole = vibrational_modes(potential.hessian(supercell.structures))
    expected = qhgk(mesh, some_widths(mesh), 300.0)
    speeds = np.zeros((3, 3))
    for q, frequencies in enumerate(mesh.frequencies_THz):
        velocity = mesh.velocity_operator(q)
        same = np.abs(frequencies[:, None] - frequencies) < 1e-5
        weights = heat_capacities(np.where(mesh.vibrating[q], mesh.angular_frequencies[q], 1.0), 300.0)
        weights /= 2 * some_widths(mesh)[q]
        speeds += np.einsum("anm,bnm,nm,n->ab", velocity, velocity.conj(), same, weights).real
    gas = CONDUCTIVITY * speeds / (mesh.volume * 27)
    np.testing.assert_allclose(qhgk(whole, some_widths(whole), 300.0).diagonal, gas, rtol=1e-8, atol=1e-8 * gas[0, 0])
    np.testing.assert_allclose(expected.diagonal, gas, rtol=1e-8, atol=1e-8 * gas[0, 0])
    np.testing.assert_allclose(
        qhgk(whole, some_widths(whole), 300.0).tensor, expected.tensor, rtol=1e-8, atol=1e-8 * gas[0, 0]
    )


def test_classical_limit():
    _, modes, _ = crystal()
    hot = qhgk(modes, some_widths(modes), 1e5).tensor
    np.testing.assert_allclose(hot, qhgk(modes, some_widths(modes), 1e5, statistics="classical").tensor, rtol=1e-4)
    cold = qhgk(modes, some_widths(modes), 300.0)
    classical = qhgk(modes, some_widths(modes), 300.0, statistics="classical")
    assert cold.value < 0.9 * classical.value
    np.testing.assert_allclose(cold.diffusivities, classical.diffusivities)


def test_allen_feldman():
    """One broadening: conductivity is sum C D / V to first order in it, and vanishes with it in a finite cell."""
    atoms = ase.build.bulk("Si", a=5.43, cubic=True).repeat((2, 1, 1))
    atoms.rattle(0.05, seed=2)
    potential = StillingerWeber.silicon()
    modes = vibrational_modes(potential.hessian(Structures.from_ase(atoms)))
    found = qhgk(modes, 0.5, 300.0, statistics="classical")
    assert found.value == pytest.approx(units._k * 1e22 * found.diffusivities.sum() / modes.volume)
    assert qhgk(modes, 1e-6, 300.0).value < 1e-4 * found.value
    assert qhgk(modes, np.full((1, 48), 0.5), 300.0, statistics="classical").value == pytest.approx(found.value)


def test_kinds_agree_where_frequencies_do():
    _, modes, _ = crystal()
    results = {kind: qhgk(modes, 0.05, 300.0, statistics="classical", kind=kind) for kind in KINDS}
    for kind in KINDS:
        np.testing.assert_allclose(results[kind].diagonal, results["qhgk"].diagonal, rtol=1e-4)
    # in classical statistics the weights of Wigner and of its velocities cancel
    np.testing.assert_allclose(results["wigner"].tensor, results["qhgk"].tensor, rtol=1e-12)
    wide = [qhgk(modes, 5.0, 300.0, statistics="classical", kind=kind).value for kind in ("qhgk", "full")]
    assert wide[1] != pytest.approx(wide[0], rel=1e-3)
    quantum = [qhgk(modes, 2.0, 300.0, kind=kind).value for kind in ("qhgk", "wigner")]
    assert quantum[0] != pytest.approx(quantum[1], rel=1e-6)
    assert quantum[0] == pytest.approx(quantum[1], rel=0.1)


def test_capacity_of_two_modes():
    def capacity(x: float, y: float) -> float:
        both = np.array([x, y])
        return exchange_capacity(x, y, *np.exp(-both), *(-1 / np.expm1(-both)))

    for x, y in ((0.3, 2.0), (1.0, 1.2), (1.0, 1.011), (20.0, 3.0), (705.0, 2.0)):
        expected = x * y * (1 / np.expm1(x) - (1 / np.expm1(y))) / (y - x)
        assert capacity(x, y) == pytest.approx(expected, rel=1e-10)
    assert capacity(800.0, 900.0) == 0
    for x in (1e-3, 0.7, 5.0):
        own = (x / 2 / np.sinh(x / 2)) ** 2
        assert capacity(x, x) == pytest.approx(own, rel=1e-12)
        for gap in (1e-12, 1e-9, 1e-6):  # continuous, without a step
            assert capacity(x, x + gap) == pytest.approx(own, rel=2 * gap / x)
        below, above = (capacity(x, x + SMALL * (1 + sign * 1e-9)) for sign in (-1, 1))  # where the two forms meet
        assert above == pytest.approx(below, rel=1e-10 + 1e-8 * SMALL / x)


def test_kept_velocities(monkeypatch):
    for modes in crystal()[1:]:
        expected = qhgk(modes, some_widths(modes), 300.0)
        monkeypatch.setattr(modes_module, "TILE", 7)
        kept = [list(modes.velocity_tiles(q)) for q in range(len(modes.wavevectors))]
        found = qhgk(modes, some_widths(modes), 300.0, velocities=kept)
        np.testing.assert_allclose(found.mode_tensors, expected.mode_tensors, rtol=1e-9, atol=1e-12)
        scan = allen_feldman_scan(modes, [9.0], 300.0, velocities=kept)
        np.testing.assert_allclose(scan.tensors, allen_feldman_scan(modes, [9.0], 300.0).tensors, rtol=1e-9, atol=1e-12)
        with pytest.raises(ValueError, match="velocities are tiles of"):
            qhgk(modes, 1.0, 300.0, velocities=[kept[0][1:]] + kept[1:])


def test_gaussian_and_antiresonant_lifetimes():
    modes = glass()
    omega, widths = modes.angular_frequencies[0, 3:], some_widths(modes)[0, 3:]
    squares = (modes.velocity_operator(0)[:, 3:, 3:] ** 2).sum(axis=0) / 3
    together, gap, total = widths[:, None] + widths, omega[:, None] - omega, omega[:, None] + omega

    def lorentz(x):
        return together / (together**2 + x**2)

    def gauss(x):
        return np.sqrt(np.pi) * np.exp(-((x / (2 * together)) ** 2)) / (2 * together)

    for shape, peak in (("lorentz", lorentz), ("gauss", gauss)):
        for antiresonant in (False, True):
            lifetimes = peak(gap) + (peak(total) if antiresonant else 0)
            options = {"statistics": "classical", "shape": shape, "antiresonant": antiresonant}
            found = qhgk(modes, some_widths(modes), 300.0, **options)
            expected = (squares * lifetimes).sum(axis=1)
            np.testing.assert_allclose(found.diffusivities[0, 3:], expected, rtol=1e-10)
            assert found.value == pytest.approx(units._k * 1e22 * expected.sum() / modes.volume)


def test_full_kind_is_the_decay_of_the_harmonic_flux():
    """Green-Kubo integral of classical flux correlations of 4000 sampled normal modes, to 3 standard errors.

    The flux is sum_nm sqrt(omega_n omega_m) v_nm q_n p_m in coordinates and momenta; where amplitudes decay as
    exp(-g t), its correlation is that of undamped modes times exp(-2 g t).
    """
    modes, temperature, half_width, n_samples = glass((1, 1, 1)), 300.0, 3.0, 4000
    omega = modes.angular_frequencies[0, 3:]
    matrices = modes.velocity_operator(0)[:, 3:, 3:] * np.sqrt(omega[:, None] * omega)
    rng = np.random.default_rng(5)
    thermal = np.sqrt(BOLTZMANN * temperature)
    coordinates, momenta = thermal * rng.normal(size=(2, n_samples, len(omega)))
    coordinates /= omega

    def flux(time: float) -> np.ndarray:
        cosine, sine = np.cos(omega * time), np.sin(omega * time)
        moved, kicked = coordinates * cosine + momenta * sine / omega, momenta * cosine - coordinates * sine * omega
        return np.stack([((moved @ matrix) * kicked).sum(axis=1) for matrix in matrices])

    times = np.linspace(0, 2, 251)
    start = flux(0.0)
    integrand = [(start * flux(time)).mean(axis=0) * np.exp(-2 * half_width * time) for time in times]
    integrals = np.trapezoid(integrand, times, axis=0) * CONDUCTIVITY / (modes.volume * thermal**4)
    value, error = integrals.mean(), integrals.std() / np.sqrt(n_samples)
    full, plain = (
        qhgk(modes, half_width, temperature, statistics="classical", kind=kind).value for kind in ("full", "qhgk")
    )
    assert error < 0.05 * value
    assert abs(value - full) < 3 * error
    assert abs(plain - full) > 1e-3 * full


def test_unresolved_images_are_refused():
    """Finite differences of forces leave all pairs at no shift; velocities need to know where each one acts."""
    potential = StillingerWeber.silicon()
    structures = Structures.from_ase(ase.build.bulk("Si", a=5.43, cubic=True).repeat((2, 2, 2)))
    exact = potential.hessian(structures)
    unresolved = replace(exact, shifts=np.zeros_like(exact.shifts))
    n_atoms = structures.n_atoms
    unresolved = ForceConstants.from_terms(exact.first, exact.second, unresolved.shifts, exact.blocks, structures)
    assert len(unresolved.first) < n_atoms**2
    with pytest.raises(ValueError, match="cell edge, which is shorter than twice their range"):
        qhgk(vibrational_modes(unresolved), 1.0, 300.0)
    resolved = qhgk(vibrational_modes(nearest_images(unresolved)), 1.0, 300.0)
    assert resolved.value == pytest.approx(qhgk(vibrational_modes(exact), 1.0, 300.0).value, rel=1e-6)


def test_velocities_and_tensor_are_symmetric():
    modes = glass()
    velocity = modes.velocity_operator(0)
    np.testing.assert_allclose(velocity, -velocity.swapaxes(1, 2), atol=1e-10)
    tensor = qhgk(modes, some_widths(modes), 300.0).tensor
    np.testing.assert_array_equal(tensor, tensor.T)
    assert np.linalg.eigvalsh(tensor).min() > 0


def test_order_and_orientation_do_not_matter():
    potential = StillingerWeber.silicon()
    atoms = ase.build.bulk("Si", a=5.43, cubic=True).repeat((2, 1, 1))
    atoms.rattle(0.05, seed=2)
    reference = qhgk(vibrational_modes(potential.hessian(Structures.from_ase(atoms))), 0.5, 300.0)
    turned = atoms[np.random.default_rng(0).permutation(len(atoms))]
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    rotation = np.linalg.solve(atoms.cell.array, turned.cell.array)
    found = qhgk(vibrational_modes(potential.hessian(Structures.from_ase(turned))), 0.5, 300.0)
    np.testing.assert_allclose(found.tensor, rotation.T @ reference.tensor @ rotation, rtol=1e-6, atol=1e-8)


def test_bad_input():
    _, modes, _ = crystal()
    with pytest.raises(ValueError, match="kind is 'rta'; accepted are 'qhgk', 'full', 'wigner'"):
        qhgk(modes, 1.0, 300.0, kind="rta")
    with pytest.raises(ValueError, match="statistics is 'quantum' and kind 'full'"):
        qhgk(modes, 1.0, 300.0, kind="full")
    with pytest.raises(ValueError, match="half_widths hold 0.0"):
        qhgk(modes, np.zeros(modes.angular_frequencies.shape), 300.0)
    with pytest.raises(ValueError, match="half_widths hold nan"):
        qhgk(modes, np.nan, 300.0)
    with pytest.raises(ValueError, match=r"half_widths have shape \(3,\)"):
        qhgk(modes, np.ones(3), 300.0)
    with pytest.raises(ValueError, match="temperature_K is -1"):
        qhgk(modes, 1.0, -1)
    stretched = StillingerWeber.silicon().hessian(Structures.from_ase(ase.build.bulk("Si", a=7.0, cubic=True)))
    with pytest.raises(UnstableModesError, match="relax again"):
        qhgk(vibrational_modes(stretched), 1.0, 300.0)
