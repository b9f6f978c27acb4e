"""Linear atomic cluster expansion: compiled loops against torch, invariances, derivatives, smoothness, bad input."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from scipy.spatial.transform import Rotation

from matterscape.potentials import Evaluator, ace, verify
from matterscape.potentials._ace_kernels import PAIR_START, lane_blocks, transform
from matterscape.potentials._ace_products import _couplings, _functions, invariant_products
from matterscape.potentials._ace_reference import radial_functions
from matterscape.potentials.ace import ACEBasis, LinearACE, ace_features, ace_rows
from matterscape.structures import Structures, extended_pairs

pytestmark = pytest.mark.unit

SILICON = ACEBasis(("Si",), 4.0, (5, 3, 2), (3, 2))
SILICA = ACEBasis(("Si", "O"), 3.5, (4, 2, 1), (2, 2), bond_lengths={("Si", "O"): 1.6})


def potential_of(basis: ACEBasis, seed: int = 0) -> LinearACE:
    rng = np.random.default_rng(seed)
    return LinearACE(basis, rng.normal(size=basis.n_coefficients), rng.normal(size=len(basis.species)))


def crystal(basis: ACEBasis, seed: int = 1) -> Atoms:
    atoms = bulk("Si", a=5.3, cubic=True)
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.03 * np.triu(np.ones((3, 3)))), scale_atoms=True)
    atoms.rattle(0.15, seed=seed)
    if len(basis.species) == 2:
        atoms.numbers[::3] = 8
    return atoms


def cluster(basis: ACEBasis, n_atoms: int = 9) -> Atoms:
    atoms = crystal(basis).repeat((2, 1, 1))[:n_atoms]
    atoms.pbc = False
    return atoms


bases = pytest.mark.parametrize("basis", [SILICON, SILICA], ids=["Si", "SiO2"])


# ---- products -------------------------------------------------------------------------------------------------------


def test_numbers_of_functions():
    """One channel: n; two: pairs with equal l; three: multisets with an even sum inside the triangle."""
    assert len(invariant_products(1, (5,), (0,)).labels) == 5
    assert len(invariant_products(1, (5, 3), (0, 2)).labels) == 5 + 3 * 6
    # one radial function, l up to 2: 000 011 022 112 222
    assert len(invariant_products(1, (1, 1, 1), (0, 0, 2)).labels) == 1 + 1 + 5
    # of two species: channels double; 000 has 4 multisets, 011 and 022 have 2 x 3, 112 has 3 x 2, 222 has 4
    assert len(invariant_products(2, (1, 1, 1), (0, 0, 2)).labels) == 2 + 3 + 4 + 6 + 6 + 6 + 4


def test_rank_of_the_coupling():
    """Couplings that vanish or coincide for equal factors are dropped."""
    assert len(_functions((1, 1, 1), (0, 1, 2))) == 1  # the triple product a . (b x c)
    assert len(_functions((1, 1, 1), (0, 0, 0))) == 0  # which vanishes for equal vectors
    assert len(_couplings((1, 1, 1, 1))) == 3
    assert len(_functions((1, 1, 1, 1), (0, 1, 2, 3))) == 3  # (a.b)(c.d), (a.c)(b.d), (a.d)(b.c)
    ((indices, weights),) = _functions((1, 1, 1, 1), (0, 0, 0, 0))  # (a.a)^2
    squares = {tuple(row): value for row, value in zip(indices.tolist(), weights)}
    assert squares[0, 0, 1, 1] == pytest.approx(2 * squares[0, 0, 0, 0])


@bases
def test_functions_are_linearly_independent(basis):
    """On random surroundings of an atom, with more of them than functions."""
    rng, features = np.random.default_rng(0), []
    for _ in range(3 * basis.n_functions):
        directions = rng.normal(size=(8, 3))
        distances = rng.uniform(1.2, 0.9 * basis.cutoff, size=(8, 1))
        positions = np.concatenate(
            [np.zeros((1, 3)), distances * directions / np.linalg.norm(directions, axis=1)[:, None]]
        )
        star = Atoms(numbers=rng.choice(basis.numbers, size=9), positions=positions)
        features.append(ace_features(basis, Structures.from_ase(star))[0])
    features /= np.linalg.norm(features, axis=0)
    assert np.linalg.matrix_rank(features, tol=1e-8) == basis.n_functions
    # a function that depends on others does not raise the rank: the test can fail
    assert np.linalg.matrix_rank(np.c_[features, features[:, 3] - features[:, 4]], tol=1e-8) == basis.n_functions


@bases
def test_functions_are_invariant(basis):
    """Under rotations, reflections, translations, and a new order of the atoms."""
    atoms = cluster(basis)
    expected = ace_features(basis, Structures.from_ase(atoms))
    assert np.abs(expected).max(axis=0).min() > 1e-9
    order = np.random.default_rng(2).permutation(len(atoms))
    for matrix in (Rotation.random(random_state=3).as_matrix(), -np.eye(3), np.diag([1.0, -1.0, 1.0])):
        moved = atoms[order]
        moved.positions = moved.positions @ matrix.T + 0.7
        found = ace_features(basis, Structures.from_ase(moved))
        np.testing.assert_allclose(found, expected[order], rtol=0, atol=1e-12 * np.abs(expected).max())


# ---- radial functions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steepness", [2, 4, 6])
def test_transform_and_its_derivatives(steepness):
    parameters = torch.from_numpy(ACEBasis(("Si",), 4.5, (4,), (), steepness).parameters(np.zeros(1)))
    pair = parameters[1].numpy()
    for r in np.linspace(1.0, 4.4, 13):
        distance = torch.tensor([r], requires_grad=True)
        constant, linear = radial_functions(distance, parameters[1:2], steepness // 2, 2)[0]  # f and f x
        derivatives = [constant, linear / constant]
        found = transform(r, steepness // 2, pair)
        for order in range(3):
            assert found[3 + order] == pytest.approx(derivatives[0].item(), rel=1e-9, abs=1e-9)
            assert found[order] == pytest.approx(derivatives[1].item(), rel=1e-9, abs=1e-9)
            derivatives = [
                torch.autograd.grad(d, distance, create_graph=True)[0].sum() if d.requires_grad else d
                for d in derivatives
            ]
    ends = [transform(r, steepness // 2, pair)[0] for r in (1e-9, 4.5)]
    assert ends == pytest.approx([1.0, -1.0])


def test_three_derivatives_vanish_at_the_cutoff():
    """Energy, force, second and third derivatives of a dimer fall as the fourth to first power of what is left."""
    potential = LinearACE(SILICON, np.random.default_rng(0).normal(size=SILICON.n_coefficients))
    sizes = []
    for left in (1e-2, 1e-3):
        dimer = Structures.from_ase(Atoms("Si2", [[0, 0, 0], [0, 0, SILICON.cutoff - left]]))
        result = potential(dimer)
        third = potential.third_order(dimer, step=1e-6)
        sizes.append(
            [
                float(result.energies.abs().max()),
                float(result.forces.abs().max()),
                np.abs(potential.hessian(dimer).dense()).max(),
                np.abs(third.values).max(),
            ]
        )
    powers = np.log10(np.divide(*sizes))
    np.testing.assert_allclose(powers, [4, 3, 2, 1], atol=0.15)
    beyond = potential(Structures.from_ase(Atoms("Si2", [[0, 0, 0], [0, 0, SILICON.cutoff + 1e-6]])))
    assert not beyond.forces.any() and not beyond.energies.any()


def test_cutoff_function_starts_at_the_bond_length():
    given = ACEBasis(("Si", "O"), 3.0, (2,), (), bond_lengths={("O", "Si"): 1.6}).parameters(np.zeros(2))
    np.testing.assert_allclose(given[1:5, PAIR_START], [2.22, 1.6, 1.6, 1.32])
    assert transform(1.59, 2, given[2])[3] == 1.0 > transform(2.0, 2, given[2])[3]
    short = ACEBasis(("Si",), 2.0, (2,), ()).parameters(np.zeros(1))  # shorter than the bond
    assert short[1, PAIR_START] == 0.0


# ---- energies and forces --------------------------------------------------------------------------------------------


def arguments(potential, structures, cutoff):
    pairs = extended_pairs(structures, cutoff)
    types = potential.types(structures.species)[pairs.owners]
    return pairs.positions(structures), types, pairs.second, pairs.offsets


@bases
@pytest.mark.parametrize("weighted", [False, True])
def test_kernel_equals_torch(basis, weighted):
    """Also with pairs beyond the cut-off, and weights of the centres."""
    potential = potential_of(basis)
    structures = Structures.from_ase([crystal(basis), crystal(basis, 5)])
    positions, *rest = arguments(potential, structures, basis.cutoff + 0.7)
    weights = torch.from_numpy(np.random.default_rng(0).normal(size=len(positions) if weighted else 0))
    rest = (*rest, potential.parameters, potential.tables, 0)
    own = potential.operator(positions, weights, *rest)
    for a, b in zip(own, potential.operator.reference(positions, weights, *rest)):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * float(b.abs().max()))


@bases
def test_any_number_of_centres_fills_the_lanes(basis):
    potential = potential_of(basis)
    for n_atoms in (1, 2, 7, 8, 9):
        structures = Structures.from_ase(cluster(basis, n_atoms))
        positions, *rest = arguments(potential, structures, basis.cutoff)
        rest = (positions.new_zeros(0), *rest, potential.parameters, potential.tables, 0)
        for a, b in zip(potential.operator(positions, *rest), potential.operator.reference(positions, *rest)):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * max(1.0, float(b.abs().max())))


def test_lanes_hold_centres_of_one_species():
    types = np.array([1, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1])
    blocks = lane_blocks(types, 3)
    assert blocks.shape == (3, 8)
    assert sorted(blocks[blocks >= 0]) == list(range(12))
    for block in blocks:
        assert len(set(types[block[block >= 0]])) == 1


@bases
def test_a_potential_keeps_its_promises(basis):
    report = verify(potential_of(basis), [crystal(basis)])
    assert report.passed, str(report)
    assert report["heat flux"].error < 1e-9


def test_an_atom_alone_has_the_energy_of_its_species():
    potential = LinearACE(SILICA, np.ones(SILICA.n_coefficients), [-3.0, -7.0])
    result = potential(Structures.from_ase(Atoms("OSi", [[0, 0, 0], [9, 0, 0]])))
    assert result.energies.tolist() == [-7.0, -3.0] and not result.forces.any()


def test_heat_flux_of_constant_energies():
    """They add sum_i E_i v_i, which is nothing for one species at rest."""
    rng = np.random.default_rng(4)
    velocities = torch.from_numpy(rng.normal(size=(8, 3)))
    velocities -= velocities.mean(0)
    for basis, shift in ((SILICON, [2.5]), (SILICA, [2.5, -1.0])):
        structures = Structures.from_ase(crystal(basis))
        coefficients = rng.normal(size=basis.n_coefficients)
        plain, shifted = (LinearACE(basis, coefficients, e)(structures) for e in (None, shift))
        difference = shifted.heat_flux(velocities) - plain.heat_flux(velocities)
        energies = torch.tensor(shift, dtype=torch.float64)[plain_types(basis, structures)]
        torch.testing.assert_close(difference[0], energies @ velocities, rtol=0, atol=1e-12)
        torch.testing.assert_close(shifted.forces, plain.forces, rtol=0, atol=1e-14)
    assert float(difference.abs().max()) > 0.1


def plain_types(basis, structures):
    return torch.tensor([basis.numbers.index(int(number)) for number in structures.species])


def test_the_pair_virial_is_not_the_flux():
    """d/dt sum_i r_i e_i of a cluster is J, with W from the edges; with W = -1/2 sum_j r_ij F_ij it is not."""
    atoms, rng = cluster(SILICON), np.random.default_rng(6)
    velocities, masses = rng.normal(scale=0.03, size=(9, 3)), atoms.get_masses()

    def results(potential):
        structures = Structures.from_ase(atoms)
        result = potential(structures)
        vectors = atoms.positions[None] - atoms.positions[:, None]
        edges = np.zeros((9, 9, 3))  # dU_i / dr_j
        leaf = structures.with_gradients()
        energies = potential(leaf).energies
        for i in range(9):
            (edges[i],) = (g.numpy() for g in torch.autograd.grad(energies[i], leaf.leaf_positions, retain_graph=True))
        pair_forces = edges - edges.swapaxes(0, 1)  # on i from j
        pair = -0.5 * np.einsum("ija,ijb->iab", vectors, pair_forces)
        dipoles = []
        for sign in (1, -1):
            time = sign * 1e-3
            moved = atoms.copy()
            moved.positions += time * velocities + 0.5 * time**2 * result.forces.numpy() / masses[:, None]
            end = potential(Structures.from_ase(moved))
            speeds = velocities + 0.5 * time * (result.forces + end.forces).numpy() / masses[:, None]
            dipoles.append(moved.positions.T @ (end.energies.numpy() + 0.5 * masses * (speeds**2).sum(1)))
        rate = (dipoles[0] - dipoles[1]) / 2e-3
        e = result.energies.numpy() + 0.5 * masses * (velocities**2).sum(1)
        fluxes = [e @ velocities + np.einsum("nab,nb->a", w, velocities) for w in (result.flux_tensors.numpy(), pair)]
        return [np.abs(flux - rate).max() / np.abs(rate).max() for flux in fluxes]

    right, wrong = results(potential_of(SILICON))
    assert right < 1e-6 < 1e-2 < wrong
    # what the formula was made for: functions of single distances
    pairs_only = np.zeros(SILICON.n_coefficients)
    pairs_only[:5] = np.random.default_rng(7).normal(size=5)
    assert max(results(LinearACE(SILICON, pairs_only))) < 1e-6


# ---- higher derivatives ---------------------------------------------------------------------------------------------


@bases
def test_hessian_is_symmetric_and_translation_invariant(basis):
    constants = potential_of(basis).hessian(Structures.from_ase([crystal(basis), cluster(basis)]))
    scale = np.abs(constants.blocks).max()
    assert constants.asymmetry() < 1e-13 * scale and constants.acoustic_residual() < 1e-12 * scale


@bases
def test_third_derivatives(basis):
    potential, atoms = potential_of(basis), crystal(basis)
    third = potential.third_order(Structures.from_ase(atoms))
    direction = np.random.default_rng(5).normal(size=(8, 3))
    ends = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * 1e-4 * direction
        ends.append(potential.hessian(Structures.from_ase(moved)).dense())
    expected, found = (ends[0] - ends[1]) / 2e-4, third.contract(direction).dense()
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    assert third.index_asymmetry < 1e-6 * np.abs(third.values).max()
    assert np.abs(third.contract(np.ones((8, 3))).blocks).max() < 1e-9 * np.abs(third.values).max()


def test_portions_do_not_show(monkeypatch):
    potential, structures = potential_of(SILICA), Structures.from_ase([crystal(SILICA), cluster(SILICA)])
    whole, third = potential.hessian(structures).dense(), potential.third_order(structures)
    monkeypatch.setattr(ace, "MAX_TERMS", 1)
    monkeypatch.setattr(ace, "_MAX_THIRD_TERMS", 1)
    np.testing.assert_allclose(potential.hessian(structures).dense(), whole, rtol=0, atol=1e-12)
    np.testing.assert_allclose(potential.third_order(structures).values, third.values, rtol=0, atol=1e-9)


def test_third_derivatives_that_do_not_fit_into_memory(monkeypatch):
    monkeypatch.setattr(ace, "memory_limit", lambda: 1_000_000)
    with pytest.raises(ValueError, match=r"stars of up to \d+ neighbours.*GB; accepted is half"):
        potential_of(SILICON).third_order(Structures.from_ase(crystal(SILICON)))


def test_atoms_alone_have_no_derivatives():
    structures = Structures.from_ase([Atoms("Si"), cluster(SILICON, 2)])
    potential = potential_of(SILICON)
    assert not potential.hessian(structures).dense()[:3].any()
    assert potential.third_order(structures).value_offsets[1] == 0
    assert not potential.hessian(structures[0]).dense().any()


# ---- rows of fits ---------------------------------------------------------------------------------------------------


@bases
def test_rows_are_linear_in_what_the_potential_says(basis):
    coefficients = np.random.default_rng(8).normal(size=basis.n_coefficients)
    structures = Structures.from_ase(crystal(basis))
    rows, result = ace_rows(basis, structures), LinearACE(basis, coefficients)(structures)
    assert rows.energy @ coefficients == pytest.approx(float(result.energy), rel=1e-12)
    close = {"rtol": 0, "atol": 1e-12 * np.abs(coefficients).sum()}
    np.testing.assert_allclose((rows.jacobian @ coefficients).reshape(-1, 3), -result.forces.numpy(), **close)
    virial = (rows.virials @ coefficients).reshape(3, 3)
    np.testing.assert_allclose(virial, -result.flux_tensors.sum(0).numpy(), **close)
    np.testing.assert_allclose(rows.features, ace_features(basis, structures), **close)


def test_rows_are_of_one_structure():
    with pytest.raises(ValueError, match="holds 2 structures; accepted is one"):
        ace_rows(SILICON, Structures.from_ase([crystal(SILICON)] * 2))


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": ("Xy",)}, "Xy"),
        ({"cutoff": -1.0}, "cutoff is -1.0"),
        ({"cutoff": math.nan}, "cutoff is nan"),
        ({"max_radial": (4, 3, 2, 1), "max_angular": (1, 1, 1)}, r"max_radial is \(4, 3, 2, 1\)"),
        ({"max_radial": (4, 0), "max_angular": (1,)}, "max_radial is 0"),
        ({"max_radial": (4, 2), "max_angular": (1, 1)}, r"max_angular is \(1, 1\); accepted are 1 numbers"),
        ({"max_angular": (2, -1)}, "max_angular is -1"),
        ({"steepness": 3}, "steepness is 3; accepted are even"),
        ({"bond_lengths": {("Si", "Ge"): 2.0}}, "bond_lengths names"),
        ({"bond_lengths": {("Si", "Si"): 0.0}}, "must|accepted is a positive"),
    ],
)
def test_bad_basis(change, message):
    with pytest.raises(ValueError, match=message):
        ACEBasis(**({"species": ("Si",)} | change))


def test_bad_potential():
    with pytest.raises(TypeError, match="basis is a str"):
        LinearACE("Si", np.zeros(3))
    with pytest.raises(
        ValueError, match=rf"coefficients has shape \(3,\); accepted are {SILICON.n_coefficients} finite"
    ):
        LinearACE(SILICON, np.zeros(3))
    with pytest.raises(ValueError, match="coefficients has shape"):
        LinearACE(SILICON, np.full(SILICON.n_coefficients, np.nan))
    with pytest.raises(ValueError, match="atomic_energies has shape"):
        LinearACE(SILICON, np.zeros(SILICON.n_coefficients), [1.0, 2.0])


def test_unknown_species_is_named():
    structures = Structures.from_ase([crystal(SILICON), molecule("H2O")])
    potential = potential_of(SILICON)
    for call in (potential, potential.hessian, potential.third_order, lambda s: ace_features(SILICON, s)):
        with pytest.raises(ValueError, match="atom 0 of structure 1 is O, which LinearACE has no parameters for"):
            call(structures)


def test_atoms_that_meet_during_a_run_are_named():
    atoms = Atoms("Si4", [[0, 0, 0], [2.3, 0, 0], [0, 2.3, 0], [2.3, 2.3, 0.4]])
    evaluate = Evaluator(potential_of(SILICON), Structures.from_ase(atoms))
    atoms.positions[1] = [2.3, 2.1, 0.2]
    evaluate(atoms.positions, np.zeros((1, 3, 3)))
    atoms.positions[1] = atoms.positions[3] + [0.0, 0.0, 5e-4]  # nearer than where lists are made anew
    with pytest.raises(ValueError, match=r"Si \(atom \d\) and Si \(atom \d\) of structure 0 are 0.00[01] Å apart"):
        evaluate(atoms.positions, np.zeros((1, 3, 3)))
