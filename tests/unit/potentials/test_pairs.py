"""Every functional form of the pair potentials, alone and with Coulomb."""

import itertools
import math

import ase.build
import numpy as np
import pytest
import torch
from ase import Atoms

from energy_moment import energy_moment_rate
from matterscape.kernels import get_threads, set_threads
from matterscape.potentials import Evaluator
from matterscape.potentials._pair_reference import pair_derivatives
from matterscape.potentials.alkali_halides import fumi_tosi
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.lennard_jones import LennardJones
from matterscape.potentials.pair import PairPotential, coulomb, damped_shifted_coulomb
from matterscape.potentials.short_range import BornMayerHuggins, Buckingham, Morse, ZieglerBiersackLittmark
from matterscape.structures import Structures, extended_pairs

pytestmark = pytest.mark.unit

PAIRS = [("Na", "Na"), ("Na", "Cl"), ("Cl", "Cl")]
IONS = {"Na": 1.0, "Cl": -1.0}
CUT = 5.0


def table(*values):
    return dict(zip(PAIRS, values))


LJ = table((0.010, 2.6), (0.025, 2.5), (0.015, 3.4))
MORSE = table((0.1, 1.3, 3.4), (0.4, 1.6, 2.7, 2.0), (0.2, 1.1, 3.9))
BUCK = table((420.0, 0.31, 2.0), (1250.0, 0.317, 8.0), (3400.0, 0.32, 70.0))
BORN = table((0.26, 0.317, 2.34, 1.05, 0.5), (0.21, 0.317, 2.75, 7.0, 8.7), (0.16, 0.317, 3.17, 72.4, 145.0))

POTENTIALS = {
    "lennard-jones": LennardJones(LJ, CUT),
    "lennard-jones shifted": LennardJones(LJ, CUT, shift=True),
    "lennard-jones switched": LennardJones(LJ, CUT, switch=3.5),
    "morse": Morse(MORSE, CUT),
    "buckingham switched": Buckingham(BUCK, CUT, switch=3.0),
    "born-mayer-huggins": BornMayerHuggins(BORN, CUT, shift=True),
    "nuclei": ZieglerBiersackLittmark(("Na", "Cl"), inner=2.2, outer=4.4),
    "ewald real space": BornMayerHuggins(BORN, CUT).with_coulomb(IONS, alpha=0.3, cutoff=6.0),
    "damped shifted": Buckingham(BUCK, CUT).with_damped_shifted_coulomb(IONS, alpha=0.25, cutoff=6.0),
    "three forms": Morse(MORSE, CUT)
    .fused_with(ZieglerBiersackLittmark(("Na", "Cl"), inner=1.0, outer=3.2))
    .with_coulomb(IONS, alpha=0.0, cutoff=4.1),
}
each = pytest.mark.parametrize("name", POTENTIALS)


def disordered(repeat=(2, 1, 1), seed=1) -> Atoms:
    """Two species at random in a cell that is shorter than the cut-offs."""
    atoms = ase.build.bulk("NaCl", "rocksalt", a=5.6, cubic=True) * repeat
    atoms.rattle(0.25, seed=seed)
    np.random.default_rng(seed).shuffle(atoms.numbers)
    atoms.set_cell(atoms.cell[:] @ np.array([[1, 0.1, 0], [0, 1, 0.05], [0.08, 0, 1]]), scale_atoms=True)
    return atoms


def cluster(seed=2) -> Atoms:
    atoms = ase.build.bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.rattle(0.2, seed=seed)
    return Atoms(atoms.numbers, atoms.positions)


def energy_of(potential, atoms) -> float:
    return float(potential(Structures.from_ase(atoms)).energy)


@each
def test_compiled_loops_equal_the_reference(name):
    potential = POTENTIALS[name]
    structures = Structures.from_ase([disordered(), cluster()])
    pairs = extended_pairs(structures, potential.cutoff, half=True)
    positions = pairs.positions(structures)
    arguments = (potential.types(structures.species)[pairs.owners], pairs.second, pairs.offsets,
                 potential.parameters, potential.tables, 0)  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for weights in (positions.new_zeros(0), torch.rand(len(positions), generator=generator, dtype=torch.float64)):
        own = potential.operator(positions, weights, *arguments)
        reference = potential.operator.reference(positions, weights, *arguments)
        for a, b in zip(own, reference):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13 * float(b.abs().max()))


@each
def test_forces_and_stress_by_finite_differences(name):
    potential, atoms, step = POTENTIALS[name], disordered(), 1e-5
    result = potential(Structures.from_ase(atoms))
    for atom, axis in ((0, 0), (5, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(energy_of(potential, moved))
        assert float(result.forces[atom, axis]) == pytest.approx((energies[1] - energies[0]) / (2 * step), abs=2e-8)
    for a, b in ((0, 0), (1, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step
            strained = atoms.copy()
            strained.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
            energies.append(energy_of(potential, strained))
        stress = (energies[0] - energies[1]) / (2 * step * atoms.get_volume())
        # the energy of an unsmoothed potential jumps when pairs cross the cut-off; none does for so small a strain
        assert float(result.stress[0, a, b]) == pytest.approx(stress, abs=2e-9)


@each
def test_newtons_third_law_and_half_shares(name):
    potential = POTENTIALS[name]
    result = potential(Structures.from_ase(disordered()))
    assert float(result.forces.sum(0).abs().max()) < 1e-12 * float(result.forces.abs().max()) + 1e-13
    pair = Atoms("NaCl", positions=[[0, 0, 0], [1.9, 1.2, 0.4]])
    result = potential(Structures.from_ase(pair))
    own = torch.tensor([potential.self_energies.get(symbol, 0.0) for symbol in ("Na", "Cl")], dtype=torch.float64)
    shares = result.energies - own
    assert float(shares[0]) == pytest.approx(float(shares[1]), rel=1e-14)
    distance = torch.tensor([pair.get_distance(0, 1)], dtype=torch.float64)
    assert float(shares.sum()) == pytest.approx(float(potential.pair_energy("Na", "Cl", distance)), rel=1e-12)
    r, force = torch.from_numpy(pair.positions[0] - pair.positions[1]), result.forces[0]
    torch.testing.assert_close(result.flux_tensors[0], 0.5 * torch.outer(r, force), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["lennard-jones", "ewald real space"])
def test_heat_flux_is_the_rate_of_the_energy_moment(name):
    potential, atoms = POTENTIALS[name], cluster()
    velocities = 0.05 * np.random.default_rng(3).normal(size=(len(atoms), 3))
    rate = energy_moment_rate(potential, atoms, velocities)
    flux = potential(Structures.from_ase(atoms)).heat_flux(torch.from_numpy(velocities))[0]
    np.testing.assert_allclose(flux, rate, rtol=1e-6, atol=1e-8)


@each
def test_a_small_cell_equals_its_supercell(name):
    potential, atoms = POTENTIALS[name], disordered(repeat=(1, 1, 1), seed=4)
    small, large = (potential(Structures.from_ase(atoms * repeat)) for repeat in ((1, 1, 1), (2, 3, 2)))
    assert float(large.energy) == pytest.approx(12 * float(small.energy), rel=1e-12)
    torch.testing.assert_close(large.forces[: len(atoms)], small.forces, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(large.flux_tensors[: len(atoms)], small.flux_tensors, rtol=1e-10, atol=1e-11)


@each
def test_the_evaluator_gives_the_same(name):
    potential, atoms = POTENTIALS[name], disordered()
    structures = Structures.from_ase(atoms)
    result, evaluator = potential(structures), Evaluator(potential, structures, skin=0.8)
    evaluator(structures.positions.numpy(), structures.cells.numpy(), pieces=True)
    for own, other in ((result.energies, evaluator.energies), (result.forces, evaluator.forces),
                       (result.flux_tensors, evaluator.flux_tensors)):  # fmt: skip
        np.testing.assert_allclose(own, other, rtol=1e-11, atol=1e-12)
    evaluator(structures.positions.numpy(), structures.cells.numpy())
    np.testing.assert_allclose(evaluator.forces, result.forces, rtol=1e-11, atol=1e-12)


@each
def test_single_precision_within_its_error(name):
    """Sums and functional forms run in double: what remains are the positions, parameters and results."""
    potential, atoms = POTENTIALS[name], disordered()
    double, single = (potential(Structures.from_ase(atoms).to(dtype=dtype)) for dtype in (torch.float64, torch.float32))
    for quantity in ("energies", "forces", "flux_tensors"):
        exact = getattr(double, quantity)
        assert getattr(single, quantity).dtype == torch.float32
        assert float((getattr(single, quantity) - exact).abs().max()) < 2e-5 * float(exact.abs().max())


def test_second_derivatives_through_torch():
    structures = Structures.from_ase(cluster()).with_gradients()
    result = POTENTIALS["ewald real space"](structures)
    direction = torch.randn(len(structures.species), 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (product,) = torch.autograd.grad((result.forces * direction).sum(), structures.leaf_positions)
    forces = []
    for sign in (1, -1):
        moved = cluster()
        moved.positions += sign * 1e-5 * direction.numpy()
        forces.append(POTENTIALS["ewald real space"](Structures.from_ase(moved)).forces)
    torch.testing.assert_close(product, (forces[0] - forces[1]) / 2e-5, rtol=1e-6, atol=1e-6)


def test_same_bits_for_the_same_number_of_threads():
    atoms = disordered(repeat=(5, 5, 4))
    structures = Structures.from_ase(atoms)
    potential, before = POTENTIALS["ewald real space"], get_threads()
    pairs = extended_pairs(structures, potential.cutoff, half=True)
    assert len(pairs.second) > 2 * 5000  # enough for two threads
    results = {}
    try:
        for threads in (1, 2):
            set_threads(threads)
            results[threads] = [potential(structures) for _ in range(3)]
            for again in results[threads][1:]:
                for quantity in ("energies", "forces", "flux_tensors"):
                    assert torch.equal(getattr(again, quantity), getattr(results[threads][0], quantity))
    finally:
        set_threads(before)
    torch.testing.assert_close(results[1][0].forces, results[2][0].forces, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(results[1][0].flux_tensors, results[2][0].flux_tensors, rtol=1e-11, atol=1e-12)


def derivatives(potential, a, b, r):
    r = torch.tensor(r, dtype=torch.float64)
    row = potential.symbols.index(a) * len(potential.symbols) + potential.symbols.index(b)
    return torch.stack(pair_derivatives(r, torch.full(r.shape, row), potential.parameters)).numpy()


@pytest.mark.parametrize(
    ("potential", "start"),
    [
        (LennardJones(LJ, CUT, switch=3.5), 3.5),
        (Morse(MORSE, CUT, switch=4.0), 4.0),
        (Buckingham(BUCK, CUT, switch=4.9), 4.9),
        (fumi_tosi("NaCl", cutoff=CUT, switch=3.0), 3.0),
        (ZieglerBiersackLittmark(("Na", "Cl"), inner=2.0, outer=CUT), 2.0),
    ],
)
def test_a_switch_has_two_continuous_derivatives(potential, start):
    step = 1e-7
    for a, b in PAIRS:
        scale = np.abs(derivatives(potential, a, b, np.linspace(0.8 * start, CUT, 300))).max(axis=1)
        for edge in (start, CUT):
            left, right = derivatives(potential, a, b, [edge - step, edge + step]).T
            assert np.all(np.abs(left - right) < 1e-4 * scale)
    assert np.all(derivatives(potential, "Na", "Cl", [CUT, CUT + 1.0]) == 0.0)


def test_shift_and_plain_cutoff():
    plain, shifted = LennardJones(LJ, CUT), LennardJones(LJ, CUT, shift=True)
    r = [3.0, CUT - 1e-9, CUT]
    difference = derivatives(plain, "Na", "Cl", r) - derivatives(shifted, "Na", "Cl", r)
    at_cutoff = 4 * 0.025 * ((2.5 / CUT) ** 12 - (2.5 / CUT) ** 6)
    np.testing.assert_allclose(difference[0], [at_cutoff, at_cutoff, 0.0], atol=1e-15)
    np.testing.assert_allclose(difference[1:], 0.0, atol=1e-15)
    assert abs(derivatives(shifted, "Na", "Cl", r)[0, 1]) < 1e-9


def test_bare_curves():
    """The formulas of the docstrings, written out."""
    r = np.array([1.7, 2.3, 3.9])
    expected = {
        "lennard-jones": 4 * 0.025 * ((2.5 / r) ** 12 - (2.5 / r) ** 6),
        "morse": 0.4 * ((1 - np.exp(-1.6 * (r - 2.7))) ** 2 - 1) + 2.0 / r**12,
        "ewald real space": 0.21 * np.exp((2.75 - r) / 0.317)
        - 7.0 / r**6
        - 8.7 / r**8
        - COULOMB * np.array([math.erfc(0.3 * x) for x in r]) / r,
    }
    for name, values in expected.items():
        curve = POTENTIALS[name].pair_energy("Na", "Cl", torch.from_numpy(r))
        np.testing.assert_allclose(curve, values, rtol=1e-13)
    buckingham = Buckingham(BUCK, CUT).pair_energy("Cl", "Na", torch.from_numpy(r))
    np.testing.assert_allclose(buckingham, 1250.0 * np.exp(-r / 0.317) - 8.0 / r**6, rtol=1e-13)


def test_lattice_sums_of_lennard_jones():
    """Face-centred cubic: 12.13188 and 14.45392 for the inverse powers 12 and 6 of the nearest distance."""
    nearest, cutoff = 2.0, 20.0
    atoms = ase.build.bulk("Ar", "fcc", a=nearest * math.sqrt(2))
    potential = LennardJones({("Ar", "Ar"): (1.0, nearest)}, cutoff)
    density = math.sqrt(2) / nearest**3
    tail = -8 / 3 * math.pi * density * nearest**6 / cutoff**3
    assert energy_of(potential, atoms) + tail == pytest.approx(2 * (12.13188 - 14.45392), rel=2e-4)


def test_madelung_energy_by_damped_shifted_coulomb():
    atoms = ase.build.bulk("NaCl", "rocksalt", a=5.64)
    energy = energy_of(damped_shifted_coulomb(IONS, alpha=0.2, cutoff=20.0), atoms)
    assert energy == pytest.approx(-1.747565 * COULOMB / 2.82, rel=2e-5)


def test_damped_shifted_coulomb_vanishes_at_its_cutoff_and_knows_its_self_energy():
    potential = damped_shifted_coulomb({"O": -1.2}, alpha=0.25, cutoff=8.0)
    value, slope, _ = derivatives(potential, "O", "O", [8.0 - 1e-9])
    assert abs(value) < 1e-12
    assert abs(slope) < 1e-9
    r = 1e-4
    lacking = derivatives(potential, "O", "O", [r])[0, 0] - COULOMB * 1.44 / r
    assert potential.self_energies["O"] == pytest.approx(0.5 * lacking, rel=1e-4)


def test_one_pass_equals_the_sum():
    structures = Structures.from_ase(disordered())
    short, long = Buckingham(BUCK, CUT), coulomb(IONS, alpha=0.3, cutoff=6.0)
    together, apart = short.with_coulomb(IONS, alpha=0.3, cutoff=6.0)(structures), (short + long)(structures)
    torch.testing.assert_close(together.forces, apart.forces, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(together.energies, apart.energies, rtol=1e-12, atol=1e-12)
    assert str(short.fused_with(long)) == "Buckingham + Coulomb"


def test_the_order_of_species_does_not_matter():
    structures = Structures.from_ase(disordered())
    reversed_table = {(b, a): values for (a, b), values in reversed(list(BORN.items()))}
    one, other = (BornMayerHuggins(t, CUT)(structures) for t in (BORN, reversed_table))
    torch.testing.assert_close(one.energies, other.energies, rtol=1e-13, atol=1e-14)


def test_none_means_no_interaction():
    potential = Morse(table((0.1, 1.3, 3.4), None, None), CUT)
    assert energy_of(potential, Atoms("NaCl", positions=[[0, 0, 0], [0, 0, 2.0]])) == 0.0
    assert energy_of(potential, Atoms("Na2", positions=[[0, 0, 0], [0, 0, 2.0]])) != 0.0


def test_pairs_inside_the_barrier_stop_with_their_distance():
    potential = fumi_tosi("NaCl").with_coulomb(alpha=0.3, cutoff=9.0)
    barrier = potential.closest_distance("Na", "Cl")
    fine = Atoms("NaCl", positions=[[0, 0, 0], [barrier + 1e-3, 0, 0]])
    assert math.isfinite(energy_of(potential, fine))
    atoms = Atoms("Na2Cl", positions=[[0, 0, 0], [4.0, 0, 0], [4.0, 0, barrier - 1e-3]])
    distance = f"of structure 1 are {barrier - 1e-3:.3f} Å apart, closer than Fumi-Tosi NaCl"
    message = rf"(Na \(atom 1\) and Cl \(atom 2\)|Cl \(atom 2\) and Na \(atom 1\)) {distance}"
    with pytest.raises(ValueError, match=message):
        potential(Structures.from_ase([fine, atoms]))
    structures = Structures.from_ase([fine, fine])
    evaluator = Evaluator(potential, structures)
    positions = structures.positions.numpy().copy()
    evaluator(positions, structures.cells.numpy())
    positions[3, 0] -= 0.2
    with pytest.raises(ValueError, match=r"\(atom 1\).* of structure 1"):
        evaluator(positions, structures.cells.numpy())


def test_a_chosen_closest_distance():
    potential = fumi_tosi("KCl").refusing({("K", "K"): 1.6})
    assert potential.closest_distance("K", "K") == pytest.approx(1.6)
    assert potential.closest_distance("Cl", "K") == pytest.approx(1.1607, abs=1e-3)
    with pytest.raises(ValueError, match="1.500 Å apart"):
        energy_of(potential, Atoms("K2", positions=[[0, 0, 0], [0, 0, 1.5]]))


def test_repulsive_walls_have_no_barrier():
    assert all(
        POTENTIALS[name].closest_distance(a, b) == 0.0
        for name, (a, b) in itertools.product(("lennard-jones", "nuclei"), PAIRS)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LennardJones({PAIRS[0]: (1.0, 2.0), PAIRS[1]: (1.0, 2.0)}, CUT), "no parameters for the pair Cl-Cl"),
        (lambda: LennardJones({PAIRS[0]: (1.0, 2.0), PAIRS[1]: (1.0, 2.0)}, CUT, mixing="geometric"), "pair Cl-Cl"),
        (lambda: LennardJones(LJ, CUT, mixing="arithmetic"), "accepted are lorentz-berthelot, geometric"),
        (lambda: LennardJones({}, CUT), "table of parameters is empty"),
        (lambda: LennardJones({("Xx", "Xx"): (1.0, 2.0)}, CUT), "species 'Xx' is unknown"),
        (lambda: LennardJones({("Ar", "Ar"): (1.0,)}, CUT), "values of .* are .*; accepted are epsilon, sigma"),
        (lambda: LennardJones({("Ar", "Ar"): (1.0, -2.0)}, CUT), "sigma of Ar-Ar is -2.0"),
        (lambda: LennardJones({("Ar", "Ar"): (math.nan, 2.0)}, CUT), "epsilon of Ar-Ar is nan"),
        (lambda: LennardJones({**LJ, ("Cl", "Na"): (1.0, 2.0)}, CUT), "pair Cl-Na is in the table twice"),
        (lambda: LennardJones(LJ, -1.0), "cutoff is -1.0"),
        (lambda: LennardJones(LJ, CUT, switch=5.0), "switch is 5.0; accepted is a distance below the cutoff"),
        (lambda: LennardJones(LJ, CUT, switch=3.0, shift=True), "accepted is one of them"),
        (lambda: Buckingham(table((1.0, 0.0, 1.0), None, None), CUT), "rho of Na-Na is 0.0"),
        (lambda: BornMayerHuggins(table((1.0, 0.0, 1.0, 1.0, 1.0), None, None), CUT), "rho of Na-Na is 0.0"),
        (lambda: ZieglerBiersackLittmark(("Si",), inner=3.0, outer=2.0), "inner is 3.0"),
        (lambda: ZieglerBiersackLittmark((), inner=1.0, outer=2.0), r"species is \(\); accepted are one or more"),
        (lambda: Morse(MORSE, CUT).with_coulomb(alpha=0.3, cutoff=6.0), "charges is None, and Morse has none"),
        (lambda: Morse(MORSE, CUT).with_coulomb({"Na": 1}, alpha=0.3, cutoff=6.0), "no charge of Cl"),
        (lambda: Morse(MORSE, CUT).with_coulomb(IONS, alpha=-0.3, cutoff=6.0), "alpha is -0.3"),
        (lambda: damped_shifted_coulomb(IONS, alpha=0.3, cutoff=0.0), "cutoff is 0.0"),
        (
            lambda: Morse(MORSE, CUT).fused_with(Morse(MORSE, CUT)),
            "Morse interaction between Na and Na, and so has Morse",
        ),
        (lambda: Morse(MORSE, CUT).fused_with(coulomb({"Na": 1.0}, alpha=0.1, cutoff=3.0)), "accepted are those of"),
        (lambda: PairPotential(("Na", "Q"), {}), "species 'Q' is unknown"),
        (lambda: POTENTIALS["morse"].closest_distance("Na", "K"), "species 'K' is not in Morse; accepted are Na, Cl"),
        (lambda: POTENTIALS["morse"].refusing({("Na", "Na"): 0.0}), "closest distance of Na-Na is 0.0"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_unknown_species_is_named():
    with pytest.raises(ValueError, match=r"atom 1 of structure 0 is K, which Morse has no parameters for; .* Na, Cl"):
        POTENTIALS["morse"](Structures.from_ase(Atoms("NaK", positions=[[0, 0, 0], [0, 0, 3.0]])))


@each
def test_force_constants_by_finite_differences(name):
    potential, atoms, step = POTENTIALS[name], disordered(repeat=(1, 1, 1), seed=6), 1e-5
    force_constants = potential.hessian(Structures.from_ase(atoms))
    assert force_constants.acoustic_residual() < 1e-11
    assert force_constants.asymmetry() < 1e-12
    dense = force_constants.dense()
    for atom, axis in ((0, 0), (5, 2)):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            forces.append(potential(Structures.from_ase(moved)).forces.numpy().ravel())
        numerical = (forces[1] - forces[0]) / (2 * step)
        np.testing.assert_allclose(dense[3 * atom + axis], numerical, atol=1e-7 * np.abs(dense).max())
