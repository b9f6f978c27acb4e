"""Gay-Berne ellipsoids against the formula of Gay and Berne, known minima, symmetries and finite differences."""

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.optimize import minimize_scalar

from matterscape.potentials import Evaluator
from matterscape.potentials._gay_berne_kernels import HARD_CORE
from matterscape.potentials.gay_berne import Ellipsoid, GayBerne, gay_berne_sums
from matterscape.potentials.orientations import read_quaternions, rotation_matrices, turned
from matterscape.potentials.verification import verify
from matterscape.structures import Structures, extended_pairs

pytestmark = pytest.mark.unit

ALONG_Z = (1.0, 0.0, 0.0, 0.0)
ALONG_X = (np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0)
ALONG_Y = (np.sqrt(0.5), -np.sqrt(0.5), 0.0, 0.0)


def _pair(distance, first=ALONG_Z, second=ALONG_Z, direction=(1.0, 0.0, 0.0)):
    atoms = Atoms("C2", [np.zeros(3), distance * np.asarray(direction) / np.linalg.norm(direction)])
    atoms.arrays["quaternions"] = np.array([first, second])
    return atoms


def _random_quaternions(rng, n):
    values = rng.normal(size=(n, 4))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _packing(symbols="C4N4", seed=0, spacing=2.3, pbc=True):
    """Eight bodies at random orientations near a cubic lattice, in a cell smaller than twice the cutoff."""
    rng = np.random.default_rng(seed)
    sites = np.stack(np.meshgrid(*[range(2)] * 3), axis=-1).reshape(-1, 3)
    positions = spacing * sites + 0.1 * rng.normal(size=(8, 3))
    atoms = Atoms(symbols, positions, cell=2 * spacing * np.eye(3), pbc=pbc)
    atoms.arrays["c_q"] = _random_quaternions(rng, 8)
    return atoms


def _two_kinds(**keywords):
    particles = {
        "C": Ellipsoid((0.5, 0.6, 1.2), (1.0, 1.3, 0.4), epsilon=0.8),
        "N": Ellipsoid((0.9, 0.8, 0.3), (0.5, 0.7, 1.6), epsilon=1.1, sigma=0.7),
    }
    return GayBerne(particles, cutoff=4.0, mu=1.7, nu=1.2, gamma=0.9, **keywords)


def _energy(potential, atoms):
    return float(potential(Structures.from_ase(atoms)).energy[0])


def _gay_berne_1981(u1, u2, r, kappa, kappa_prime, mu, nu, direction=None):
    """Eqs. 2-8 of Gay and Berne, J. Chem. Phys. 74, 3316 (1981), with sigma_0 = epsilon_0 = 1."""
    distance = np.linalg.norm(r)
    d = r / distance if direction is None else direction
    a, b, c = u1 @ d, u2 @ d, u1 @ u2

    def combined(chi):
        return chi / 2 * ((a + b) ** 2 / (1 + chi * c) + (a - b) ** 2 / (1 - chi * c))

    chi = (kappa**2 - 1) / (kappa**2 + 1)
    chi_prime = (kappa_prime ** (1 / mu) - 1) / (kappa_prime ** (1 / mu) + 1)
    sigma = (1 - combined(chi)) ** -0.5
    strength = (1 - chi**2 * c**2) ** (-nu / 2) * (1 - combined(chi_prime)) ** mu
    rho = 1 / (distance - sigma + 1)
    return 4 * strength * (rho**12 - rho**6)


@pytest.mark.parametrize(("kappa", "kappa_prime", "mu", "nu"), [(3, 5, 2, 1), (4.4, 20, 1, 1), (3, 5, 1, 3)])
def test_uniaxial_bodies_follow_the_formula_of_gay_and_berne(kappa, kappa_prime, mu, nu):
    potential = GayBerne.uniaxial("C", kappa, kappa_prime, mu, nu, cutoff=20.0, width=0.0)
    rng = np.random.default_rng(1)
    for _ in range(20):
        quaternions = _random_quaternions(rng, 2)
        axes = rotation_matrices(torch.from_numpy(quaternions)).numpy()[:, :, 2]
        vector = rng.normal(size=3)
        vector *= rng.uniform(kappa, kappa + 2) / np.linalg.norm(vector)
        atoms = _pair(np.linalg.norm(vector), *quaternions, vector)
        expected = _gay_berne_1981(*axes, vector, kappa, kappa_prime, mu, nu)
        assert _energy(potential, atoms) == pytest.approx(expected, rel=1e-12)


MINIMA = {  # GB(3, 5, 2, 1): depth, distance; orientations and direction
    "side by side": (-5 / 3, 1.1225, ALONG_Z, ALONG_Z, (1, 0, 0)),
    "crossed": (-1.0, 1.1225, ALONG_Z, ALONG_Y, (1, 0, 0)),
    "T": (-0.381966, 2.3585, ALONG_Z, ALONG_X, (1, 0, 0)),
    "end to end": (-1 / 3, 3.1225, ALONG_Z, ALONG_Z, (0, 0, 1)),
}


@pytest.mark.parametrize("arrangement", MINIMA)
def test_minima_of_the_standard_arrangements(arrangement):
    depth, distance, *placed = MINIMA[arrangement]
    potential = GayBerne.uniaxial("C", 3, 5, 2, 1, cutoff=20.0, width=0.0)
    found = minimize_scalar(
        lambda r: _energy(potential, _pair(r, *placed)),
        bounds=(distance - 0.2, distance + 0.5),
        options={"xatol": 1e-9},
    )
    assert found.fun == pytest.approx(depth, abs=1e-6)
    assert found.x == pytest.approx(distance, abs=1e-4)


def test_the_vector_in_place_of_its_direction_would_miss_the_minima():
    z, r = np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 3.1225])
    right = _gay_berne_1981(z, z, r, 3, 5, 2, 1)
    with np.errstate(invalid="ignore"):
        wrong = _gay_berne_1981(z, z, r, 3, 5, 2, 1, direction=r)
    assert right == pytest.approx(-1 / 3, abs=1e-6)
    assert not abs(wrong - right) < 0.1


def test_promises_of_every_potential():
    report = verify(_two_kinds(), [_packing(), _packing(seed=1, pbc=False)])
    assert report.passed, str(report)
    assert set(report.skipped) - {"threads"} == {"hessian"}


def test_equal_semiaxes_are_lennard_jones_spheres_without_torques():
    atoms = _packing("C8", pbc=False)
    result = GayBerne({"C": Ellipsoid((0.9, 0.9, 0.9))}, cutoff=9.0, width=0.0)(Structures.from_ase(atoms))
    distances = atoms.get_all_distances()[np.triu_indices(8, 1)]
    expected = 4 * ((1.8 / distances) ** 12 - (1.8 / distances) ** 6)
    assert float(result.energy[0]) == pytest.approx(expected.sum(), rel=1e-12)
    assert result.torques.abs().max() < 1e-12


def test_symmetries_of_bodies():
    rng = np.random.default_rng(2)
    potential, atoms = _two_kinds(), _packing(seed=3)
    own = potential(Structures.from_ase(atoms))
    negative = atoms.copy()
    negative.arrays["c_q"] = -atoms.arrays["c_q"]
    axes = rotation_matrices(read_quaternions([atoms])).numpy()
    half_turned = turned(atoms, np.pi * axes[np.arange(8), :, rng.integers(0, 3, 8)])
    for other in (negative, half_turned):
        result = potential(Structures.from_ase(other))
        torch.testing.assert_close(result.energies, own.energies, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(result.forces, own.forces, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(result.torques, own.torques, rtol=1e-12, atol=1e-12)
    uniaxial = GayBerne.uniaxial("C", 2.5, 5, 2, 1, sigma=0.9, cutoff=4.0)
    rods = _packing("C8", seed=4)
    axes = rotation_matrices(read_quaternions([rods])).numpy()[:, :, 2]
    spun = turned(rods, rng.uniform(-3, 3, 8)[:, None] * axes)
    before, after = uniaxial(Structures.from_ase([rods, spun])).energies.split(8)
    torch.testing.assert_close(after, before, rtol=1e-13, atol=1e-13)


def test_inverse_rotation_would_be_noticed():
    potential, atoms = _two_kinds(), _packing(seed=5)
    inverse = atoms.copy()
    inverse.arrays["c_q"] = atoms.arrays["c_q"] * [1, -1, -1, -1]
    assert abs(_energy(potential, inverse) - _energy(potential, atoms)) > 0.1


def _arguments(weighted):
    potential, structures = _two_kinds(), Structures.from_ase([_packing(), _packing(seed=6, pbc=False)])
    found = extended_pairs(structures, potential.cutoff, half=True)
    positions, types = found.positions(structures), potential.types(structures)
    shapes = potential.shapes(read_quaternions(structures.to_ase()), types)[found.owners]
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(len(positions) if weighted else 0, dtype=torch.float64, generator=generator)
    topology = (types[found.owners], found.second, found.offsets)
    return (positions, weights, shapes, *topology, potential.pairs, potential.form, True)


@pytest.mark.parametrize("weighted", [False, True])
def test_numba_body_against_the_torch_reference(weighted):
    arguments = _arguments(weighted)
    for ours, expected in zip(gay_berne_sums(*arguments), gay_berne_sums.reference(*arguments)):
        assert (ours - expected).abs().max() <= 1e-13 * expected.abs().max()


def test_operator_is_differentiable_twice():
    potential, atoms = _two_kinds(), _packing("CN" * 4, pbc=False)[:2]
    structures = Structures.from_ase(atoms)
    quaternions = read_quaternions([atoms]).requires_grad_()
    fitted = potential.pairs.clone().requires_grad_()

    def everything(positions, quaternions, pairs):
        found = extended_pairs(structures, potential.cutoff, half=True)
        types = potential.types(structures)
        return gay_berne_sums(
            positions, positions.new_zeros(0), potential.shapes(quaternions, types), types, found.second,
            found.offsets, pairs, potential.form, True,
        )  # fmt: skip

    inputs = (structures.positions.clone().requires_grad_(), quaternions, fitted)
    assert torch.autograd.gradcheck(everything, inputs, atol=1e-5, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda *a: everything(*a)[0], inputs, atol=1e-4, fast_mode=True)
    torch.library.opcheck(
        gay_berne_sums.torch_operator, _arguments(True), test_utils=("test_schema", "test_faketensor")
    )


def test_bodies_that_overlap_have_a_large_finite_energy_that_pushes_them_apart():
    potential = GayBerne.uniaxial("C", 3, 5, 2, 1, cutoff=6.0)
    edge = 3.0 - 1 + HARD_CORE  # end to end
    distances = np.array([0.01, 0.5, 1.0, 1.9, edge - 1e-7, edge + 1e-7, 2.3])
    frames = [_pair(distance, direction=(0, 0, 1)) for distance in distances]
    result = potential(Structures.from_ase(frames))
    energies = result.energy.numpy()
    assert np.isfinite(energies).all() and (np.diff(energies) < 0).all()
    assert (energies[:-1] > 1e11).all()
    forces = result.forces.numpy().reshape(-1, 2, 3)
    assert (forces[:, 1, 2] > 0).all() and np.isfinite(result.torques.numpy()).all()
    assert forces[4, 1, 2] == pytest.approx(forces[5, 1, 2], rel=1e-4)
    assert energies[4] == pytest.approx(energies[5], rel=1e-4)


def test_evaluator_gives_torques_and_takes_new_orientations():
    potential, atoms = _two_kinds(), _packing(seed=7)
    evaluator = Evaluator(potential, Structures.from_ase(atoms))
    other = turned(atoms, np.full((8, 3), 0.3))
    for frame in (atoms, other):
        evaluator.bound.quaternions[:] = frame.arrays["c_q"]
        evaluator(frame.positions, frame.cell.array[None], pieces=True)
        expected = potential(Structures.from_ase(frame))
        np.testing.assert_allclose(evaluator.bound.torques, expected.torques, atol=1e-12)
        np.testing.assert_allclose(evaluator.forces, expected.forces, atol=1e-12)
        np.testing.assert_allclose(
            evaluator.bound.rotational_flux_tensors, expected.rotational_flux_tensors, atol=1e-12
        )


def test_pairs_replace_the_mixing_rules():
    rods = {"C": Ellipsoid((0.5, 0.5, 1.5)), "N": Ellipsoid((0.5, 0.5, 1.5), epsilon=4.0, sigma=1.2)}
    atoms = _pair(1.4)
    atoms.symbols[1] = "N"
    mixed = GayBerne(rods, cutoff=6.0)
    same = GayBerne(rods, cutoff=6.0, pairs={("N", "C"): (2.0, 1.1)})
    doubled = GayBerne(rods, cutoff=6.0, pairs={("C", "N"): (4.0, 1.1)})
    assert _energy(same, atoms) == pytest.approx(_energy(mixed, atoms), rel=1e-14)
    assert _energy(doubled, atoms) == pytest.approx(2 * _energy(mixed, atoms), rel=1e-14)


def test_heat_flux_of_turning_bodies_needs_both_parts():
    result = _two_kinds()(Structures.from_ase(_packing()))
    velocities, spin = torch.rand(2, 8, 3, dtype=torch.float64)
    still = result.heat_flux(velocities)
    turning = result.heat_flux(velocities, angular_velocities=spin, rotational_energies=torch.ones(8))
    extra = torch.einsum("nab,nb->a", result.rotational_flux_tensors, spin) + velocities.sum(0)
    torch.testing.assert_close(turning[0], still[0] + extra)
    with pytest.raises(ValueError, match="belong together"):
        result.heat_flux(velocities, angular_velocities=spin)


def _with_orientations(values, key="quaternions"):
    atoms = Atoms("C2", [[0, 0, 0], [0, 0, 4]])
    atoms.arrays[key] = np.asarray(values, float)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (Atoms("C2", [[0, 0, 0], [0, 0, 4]]), "'quaternions' or 'c_q'"),
        (_with_orientations([[1, 0, 0], [1, 0, 0]]), r"shape \(2, 3\)"),
        (_with_orientations([[1, 0, 0, 0], [1, 0.1, 0, 0]], "c_q"), "c_q of structure 0: atom 1 has norm 1.00499"),
        (_with_orientations([[np.nan, 0, 0, 0], [1, 0, 0, 0]]), "atom 0 has norm nan"),
    ],
)
def test_orientations_that_are_missing_or_wrong(atoms, words):
    with pytest.raises(ValueError, match=words):
        GayBerne.uniaxial("C", 3, 5, 2, 1, cutoff=6.0)(Structures.from_ase(atoms))


def test_norms_within_the_tolerance_are_normalised():
    potential = GayBerne.uniaxial("C", 3, 5, 2, 1, cutoff=6.0)
    rough = _with_orientations([[1.0009, 0, 0, 0], [0.9991, 0, 0, 0]])
    assert _energy(potential, rough) == pytest.approx(_energy(potential, _pair(4.0, direction=(0, 0, 1))), rel=1e-14)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Ellipsoid((0.5, 0.0, 1.0)), r"semiaxes is \(0.5, 0.0, 1.0\)"),
        (lambda: Ellipsoid((0.5, 1.0)), "three positive"),
        (lambda: Ellipsoid((1, 1, 1), (1, -1, 1)), "well_depths"),
        (lambda: Ellipsoid((1, 1, 1), epsilon=0.0), "epsilon is 0.0"),
        (lambda: GayBerne({}, cutoff=4.0), "chemical symbols"),
        (lambda: GayBerne({"Xx": Ellipsoid((1, 1, 1))}, cutoff=4.0), "Xx"),
        (lambda: GayBerne({"C": Ellipsoid((1, 1, 1))}, cutoff=-4.0), "cutoff is -4.0"),
        (lambda: GayBerne({"C": Ellipsoid((1, 1, 1))}, cutoff=4.0, width=5.0), "width is 5.0"),
        (lambda: GayBerne({"C": Ellipsoid((1, 1, 1))}, cutoff=4.0, pairs={("C", "O"): (1, 1)}), "pairs name"),
        (lambda: GayBerne.uniaxial("C", 3, 0, 2, 1, cutoff=4.0), "kappa_prime is 0"),
    ],
)
def test_parameters_out_of_range(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_quaternions_of_the_wrong_shape_and_unknown_species():
    potential = GayBerne.uniaxial("C", 3, 5, 2, 1, cutoff=6.0)
    structures = Structures.from_ase(_pair(4.0))
    with pytest.raises(ValueError, match=r"accepted is \(2, 4\)"):
        potential(structures, torch.ones(3, 4))
    with pytest.raises(ValueError, match="norm 2"):
        potential(structures, torch.ones(2, 4, dtype=torch.float64))
    with pytest.raises(ValueError, match="atom 1 of structure 0 is O"):
        other = _pair(4.0)
        other.symbols[1] = "O"
        potential(Structures.from_ase(other))
