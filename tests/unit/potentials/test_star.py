"""What all star potentials share: compiled loops against torch, derivatives, images, precision, bad input."""

import math
from dataclasses import replace

import numba
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, make_supercell

from matterscape.potentials import Evaluator
from matterscape.potentials._star_kernels import accumulate, chunk_bounds
from matterscape.potentials._star_reference import energies, triplets
from matterscape.potentials._stars import NEIGHBOUR_COLUMNS, PAIR_COLUMNS, star
from matterscape.potentials._symbols import numbers_of
from matterscape.potentials.star import StarPotential, read_lammps_table
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures, extended_pairs

pytestmark = pytest.mark.unit


def general_tersoff() -> Tersoff:
    """Silicon-germanium with every option of the form in use."""
    table = Tersoff.silicon_germanium().table.copy()
    table[0, :, :, 2], table[1, :, :, 2] = 1.3, 0.7  # lambda3
    table[1, :, :, 0], table[1, :, :, 1] = 1.0, 0.8  # m, gamma
    table[0, 0, 1, 10] += 0.1  # a cut-off that differs from the bond's
    return Tersoff(("Si", "Ge"), table)


def general_stillinger_weber() -> StillingerWeber:
    """Silicon-germanium with other exponents for the unlike bonds."""
    table = StillingerWeber.silicon_germanium().table.copy()
    table[0, 1, 1, 8:], table[1, 0, 0, 8:] = (5.0, 0.5), (5.0, 0.5)
    return StillingerWeber(("Si", "Ge"), table)


FORMS = [StillingerWeber.silicon_germanium, general_stillinger_weber, Tersoff.silicon_germanium, general_tersoff]
forms = pytest.mark.parametrize("make", FORMS)


def crystal(rattle: float = 0.15, repeat: int = 1, seed: int = 4) -> Atoms:
    """Alloy of both species in a skewed cell, some neighbours inside every switching region."""
    atoms = bulk("Si", a=5.5, cubic=True).repeat((repeat, repeat, repeat))
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.03 * np.triu(np.ones((3, 3)))), scale_atoms=True)
    atoms.rattle(rattle, seed=seed)
    atoms.numbers[::3] = 32
    return atoms


def arguments(potential: StarPotential, structures: Structures, skin: float = 0.0):
    pairs = extended_pairs(structures, potential.cutoff + skin)
    positions = pairs.positions(structures)
    types = potential.types(structures.species)[pairs.owners]
    return positions, types, pairs.second, pairs.offsets, potential.parameters, potential.tables, potential.kind


def run(potential, structures, weights=None, skin=0.0, dtype=np.float64, with_pieces=True):
    *arrays, kind = arguments(potential, structures, skin)
    positions, types, second, offsets, parameters, tables = (t.numpy() for t in arrays)
    positions = positions.astype(dtype)
    weights = np.zeros(0, dtype) if weights is None else weights
    results = [np.zeros((len(positions), *shape), dtype) for shape in ((), (3,), (3, 3))]
    pair = accumulate(
        positions, weights, types, second, offsets, parameters, tables, kind, with_pieces, *results
    )  # fmt: skip
    assert pair == -1
    return results


@forms
@pytest.mark.parametrize("weighted", [False, True])
def test_kernel_equals_torch(make, weighted):
    potential, structures = make(), Structures.from_ase([crystal(), crystal(0.3)])
    positions, types, second, offsets, parameters, tables, kind = arguments(potential, structures)
    weights = np.random.default_rng(0).normal(size=len(positions)) if weighted else np.zeros(0)
    own = run(potential, structures, weights)
    expected = potential.operator.reference(
        positions, torch.from_numpy(weights), types, second, offsets, parameters, tables, kind
    )
    for a, b in zip(own, expected):
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=1e-12 * float(b.abs().max()))


@forms
def test_pieces_are_optional_and_results_are_added(make):
    potential, structures = make(), Structures.from_ase(crystal())
    full, bare = run(potential, structures), run(potential, structures, with_pieces=False)
    np.testing.assert_array_equal(full[0], bare[0])
    np.testing.assert_array_equal(full[1], bare[1])
    assert not bare[2].any() and full[2].any()


@forms
def test_pairs_beyond_the_cutoff_do_not_count(make):
    potential, structures = make(), Structures.from_ase(crystal())
    near, far = run(potential, structures), run(potential, structures, skin=1.5)
    np.testing.assert_allclose(far[0][:8], near[0][:8], rtol=1e-12)
    np.testing.assert_allclose(far[2].sum(0), near[2].sum(0), rtol=0, atol=1e-12)


@forms
def test_forces_and_stress_are_derivatives_of_the_energy(make):
    potential, structures = make(), Structures.from_ase(crystal())
    leaf = structures.with_gradients(strain=True)
    result = potential(leaf)
    on_positions, on_strain = torch.autograd.grad(result.energy.sum(), (leaf.leaf_positions, leaf.strain))
    torch.testing.assert_close(-on_positions, result.forces, rtol=0, atol=1e-12)
    torch.testing.assert_close(-on_strain, result.virials, rtol=0, atol=1e-11)
    random = np.random.default_rng(1)
    step, atoms = 1e-5, crystal()
    shift, strain = random.normal(size=(8, 3)), random.normal(size=(3, 3))
    energy = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * step * shift
        moved.set_cell(moved.cell[:] @ (np.eye(3) + sign * step * strain), scale_atoms=True)
        energy.append(float(potential(Structures.from_ase(moved)).energy))
    result = potential(structures)
    expected = -(result.forces.numpy() * shift).sum() - (result.flux_tensors.sum(0).numpy() * strain).sum()
    assert (energy[0] - energy[1]) / (2 * step) == pytest.approx(expected, rel=1e-7)


@forms
def test_second_derivatives_of_the_operator(make):
    """The operator's double backward, with a molecule that leaves the cell's images aside."""
    potential = make()
    atoms = crystal()[:4]
    atoms.pbc = False
    structures = Structures.from_ase(atoms)

    def energy_of(positions):
        return potential(replace(structures, positions=positions, _topologies={})).energies

    positions = structures.positions.clone().requires_grad_()
    assert torch.autograd.gradcheck(energy_of, positions, fast_mode=True)
    assert torch.autograd.gradgradcheck(energy_of, positions, fast_mode=True)


@forms
def test_forces_add_up_to_nothing_and_turn_with_the_structure(make):
    atoms = crystal()
    results = [make()(Structures.from_ase(atoms))]
    turned = atoms.copy()
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]  # proper or not
    turned.set_cell(atoms.cell[:] @ rotation.T, scale_atoms=True)
    turned.positions = atoms.positions @ rotation.T
    results.append(make()(Structures.from_ase(turned)))
    matrix = torch.from_numpy(rotation)
    assert float(results[0].forces.sum(0).abs().max()) < 1e-12
    torch.testing.assert_close(results[1].energies, results[0].energies, rtol=0, atol=1e-11)
    torch.testing.assert_close(results[1].forces, results[0].forces @ matrix.T, rtol=0, atol=1e-11)
    torch.testing.assert_close(results[1].flux_tensors, matrix @ results[0].flux_tensors @ matrix.T, rtol=0, atol=1e-11)


@forms
def test_primitive_cell_equals_supercell(make):
    """The two-atom cell is smaller than the cutoff: atoms are neighbours of their own images."""
    small = bulk("Si", a=5.2)
    small.rattle(0.1, seed=2)
    small.numbers[1] = 32
    large = make_supercell(small, 3 * np.eye(3))
    one, many = (make()(Structures.from_ase(a)) for a in (small, large))
    order = np.tile(np.arange(2), 27) if large.numbers[1] != large.numbers[0] else np.repeat(np.arange(2), 27)
    torch.testing.assert_close(many.energies, one.energies[order], rtol=0, atol=1e-11)
    torch.testing.assert_close(many.forces, one.forces[order], rtol=0, atol=1e-11)
    torch.testing.assert_close(many.stress, one.stress, rtol=0, atol=1e-12)


@forms
def test_an_atom_without_neighbours_has_no_energy(make):
    lonely = Structures.from_ase([Atoms("Si", [[0, 0, 0]]), crystal()])
    result = make()(lonely)
    assert float(result.energies[0]) == 0 and not result.forces[0].any()
    assert float(result.energy[1]) == pytest.approx(float(make()(lonely[1:]).energy), rel=1e-13)


@forms
def test_energy_and_forces_vanish_smoothly_at_the_cutoff(make):
    """A third atom leaves through every cut-off in turn without a jump in energy or forces.

    Tersoff's bond order makes the forces on that atom fall with the power 2 n - 1 = 0.5 of what is left of the way.
    """
    potential = make()
    cutoffs = np.unique(np.sqrt(potential.parameters[1:5, 0].numpy()))
    for species in ("SiGeSi", "GeSiGe", "GeGeSi"):
        for cutoff in cutoffs:
            previous = None
            for distance in (cutoff - 1e-10, cutoff + 1e-10):
                atoms = Atoms(species, [[0, 0, 0], [2.4, 0, 0], [-0.3 * distance, math.sqrt(0.91) * distance, 0]])
                result = potential(Structures.from_ase(atoms))
                values = torch.cat([result.energies, result.forces.flatten()])
                if previous is not None:
                    torch.testing.assert_close(values, previous, rtol=0, atol=2e-5)
                previous = values


@forms
def test_complex_numbers_follow_the_same_branches(make):
    """Values are the real ones at, just inside and just outside every switch, whatever the imaginary parts."""
    potential = make()
    parameters, tables = potential.parameters.numpy(), potential.tables.numpy()
    random = np.random.default_rng(5)
    ends = np.unique(np.concatenate([np.sqrt(parameters[1:5, 0]), parameters[1:5, 1], parameters[1:5, 2]]))
    ends = ends[ends > 1.5]
    for radius in np.concatenate([ends, ends - 1e-14, ends + 1e-14, ends * (1 + 1e-9), [1.5, 2.5]]):
        vectors = random.normal(size=(5, 3))
        vectors *= (random.uniform(2.0, 4.0, 5) / np.linalg.norm(vectors, axis=1))[:, None]
        vectors[0] *= radius / np.linalg.norm(vectors[0])
        types = random.integers(2, size=5)
        found = []
        for points in (vectors, vectors + 1e-20j * random.normal(size=(5, 3))):
            scratch = [np.empty(shape, points.dtype) for shape in ((5, 3), (5, NEIGHBOUR_COLUMNS), (10, PAIR_COLUMNS))]
            energy = star(potential.kind, 5, points, types, 0, parameters, tables, *scratch)
            found.append((energy, scratch[0]))
        assert found[1][0].real == pytest.approx(found[0][0], rel=1e-13, abs=1e-14)
        np.testing.assert_allclose(found[1][1].real, found[0][1], rtol=1e-11, atol=1e-13)
        # the directional derivative
        step = (points.imag / 1e-20 * found[0][1]).sum()
        assert found[1][0].imag / 1e-20 == pytest.approx(step, rel=1e-11, abs=1e-13)


@forms
def test_single_precision(make):
    """Errors in float32: energies below 2e-6 eV per eV, forces below 2e-5 of the largest."""
    potential, structures = make(), Structures.from_ase(crystal())
    double, single = run(potential, structures), run(potential, structures, dtype=np.float32)
    assert single[0].dtype == single[1].dtype == np.float32
    for a, b, tolerance in zip(single, double, (2e-6, 2e-5, 2e-5)):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())
    result = potential(structures.to(dtype=torch.float32))
    assert result.forces.dtype == torch.float32


def test_threads_change_nothing_but_rounding():
    potential, structures = Tersoff.silicon_germanium(), Structures.from_ase(crystal(repeat=2))
    before = numba.get_num_threads()
    try:
        results = {}
        for n_threads in sorted({1, min(2, numba.config.NUMBA_NUM_THREADS)}):
            numba.set_num_threads(n_threads)
            results[n_threads] = run(potential, structures)
            for a, b in zip(run(potential, structures), results[n_threads]):
                np.testing.assert_array_equal(a, b)
    finally:
        numba.set_num_threads(before)
    first, *others = results.values()
    for other in others:
        for a, b in zip(first, other):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_chunks_cover_the_centres_once():
    offsets = np.array([0, 0, 10, 10, 11, 40, 41])
    for n_chunks in (1, 2, 3, 6):
        bounds = chunk_bounds(offsets, n_chunks)
        assert bounds[0] == 0 and bounds[-1] == 6 and len(bounds) == n_chunks + 1
        assert (np.diff(bounds) >= 0).all()


def test_triplets_are_all_ordered_couples():
    first = torch.tensor([0, 0, 0, 2, 2, 3])
    p, q = triplets(first, 4)
    expected = {(a, b) for a in range(6) for b in range(6) if a != b and first[a] == first[b]}
    assert len(p) == len(expected) and set(zip(p.tolist(), q.tolist())) == expected


def test_reference_accepts_pairs_in_any_order():
    potential, structures = general_tersoff(), Structures.from_ase(crystal())
    positions, types, second, offsets, parameters, tables, kind = arguments(potential, structures)
    first = torch.repeat_interleave(torch.arange(8), offsets.diff())
    second = second.long()
    shuffled = torch.randperm(len(first), generator=torch.Generator().manual_seed(0))
    results = [
        energies(positions[s] - positions[f], f, s, types, 8, parameters, tables, kind)
        for f, s in ((first, second), (first[shuffled], second[shuffled]))
    ]
    torch.testing.assert_close(*results, rtol=1e-13, atol=0)


def test_dynamics_and_batches_give_the_same_forces():
    potential = Tersoff.silicon_germanium()
    structures = Structures.from_ase([crystal(), crystal(0.2)])
    evaluator = Evaluator(potential, structures)
    evaluator(structures.positions.numpy(), structures.cells.numpy(), pieces=True)
    result = potential(structures)
    np.testing.assert_allclose(evaluator.energies, result.energies.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(evaluator.forces, result.forces.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(evaluator.flux_tensors, result.flux_tensors.numpy(), rtol=0, atol=1e-12)


def test_atoms_that_meet_during_a_run_are_named():
    atoms = Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]], cell=[12] * 3, pbc=True)
    structures = Structures.from_ase(atoms)
    evaluator = Evaluator(Tersoff.silicon(), structures, skin=6.0)
    evaluator(structures.positions.numpy(), structures.cells.numpy())
    with pytest.raises(ValueError, match=r"Si \(atom 0\) and Si \(atom 1\) of structure 0 are 0.000 Å apart"):
        evaluator(np.array([[0, 0, 0], [0, 0, 1e-4]]), structures.cells.numpy())


def test_unknown_species_is_named():
    with pytest.raises(ValueError, match=r"atom 2 of structure 0 is Au, which Tersoff .* accepted are Si, Ge"):
        Tersoff.silicon_germanium()(Structures.from_ase(Atoms("SiGeAu", [[0, 0, 0], [2, 0, 0], [0, 2, 0]])))


@pytest.mark.parametrize(
    "species, message",
    [
        (("Si", "Xx"), "'Xx' is unknown; accepted are chemical symbols"),
        (("Si", "Si"), "different"),
        ((), "one or more"),
    ],
)
def test_bad_species(species, message):
    with pytest.raises(ValueError, match=message):
        numbers_of(species)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "has 0 words; accepted are entries of 5 words"),
        ("Si Si Si 1.0", "has 4 words"),
        ("Si Si Si 1.0 two", "entry Si Si Si 1.0 two holds something that is not a number"),
        ("Si Si Si 1 2", "has no entry Si Si Ge"),
    ],
)
def test_bad_files(tmp_path, text, message):
    (tmp_path / "file").write_text("# comment\n" + text)
    with pytest.raises(ValueError, match=message):
        read_lammps_table(tmp_path / "file", ["Si", "Ge"], 2)
