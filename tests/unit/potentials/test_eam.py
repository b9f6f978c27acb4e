"""Embedded-atom potentials: published numbers, derivatives, tables, files, exchanged atoms."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111

from matterscape.kernels import get_threads, set_threads
from matterscape.potentials import Evaluator, _star_kernels
from matterscape.potentials._eam_loops import accumulate
from matterscape.potentials.eam import EAM
from matterscape.potentials.zhou_metals import PARAMETERS, zhou2004
from matterscape.structures import Structures, extended_pairs

pytestmark = pytest.mark.unit

# lattice, cohesive energy in eV and lattice parameter in Å: X. W. Zhou et al., Phys. Rev. B 69, 144113 (2004) and its
# references; hcp at the ideal ratio of axes
METALS = {
    "Cu": ("fcc", 3.5400, 3.6150), "Ag": ("fcc", 2.8500, 4.0896), "Au": ("fcc", 3.9300, 4.0801),
    "Ni": ("fcc", 4.4500, 3.5196), "Pd": ("fcc", 3.9100, 3.8904), "Pt": ("fcc", 5.7700, 3.9201),
    "Fe": ("bcc", 4.2900, 2.8660), "Mo": ("bcc", 6.8100, 3.1501), "Ta": ("bcc", 8.0900, 3.3025),
    "W": ("bcc", 8.7600, 3.1648), "Cr": ("bcc", 4.1000, 2.8797), "Co": ("hcp", 4.4100, 2.5060),
    "Ti": ("hcp", 4.8700, 2.9339), "Zr": ("hcp", 6.3598, 3.2002),
}  # fmt: skip
SURFACE_ENERGIES = {"Cu": 1.505, "Ag": 0.914, "Au": 0.953, "Ni": 1.788, "Pd": 1.532, "Pt": 2.123}  # J/m^2, (111)
ALLOY = ("Cu", "Ag", "Ni", "Ta", "Zr")


def _crystal(symbol, scale=1.0):
    lattice, _, a = METALS[symbol]
    keywords = {"c": a * scale * np.sqrt(8 / 3)} if lattice == "hcp" else {}
    return bulk(symbol, lattice, a=a * scale, **keywords)


def _alloy(repeat=(2, 2, 2), seed=0, symbols=ALLOY, a=3.9, rattle=0.15):
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", "fcc", a=a, cubic=True).repeat(repeat)
    atoms.positions += rng.normal(scale=rattle, size=atoms.positions.shape)
    atoms.symbols = rng.choice(symbols, len(atoms))
    return atoms


@pytest.fixture(scope="module")
def alloy_potential():
    return zhou2004(ALLOY)


@pytest.fixture(scope="module")
def setfl_potential(alloy_potential, tmp_path_factory):
    path = tmp_path_factory.mktemp("eam") / "alloy.eam.alloy"
    alloy_potential.to_setfl(path, n_distances=2000, n_densities=2000)
    return EAM.from_setfl(path)


@pytest.fixture(params=["analytic", "setfl"])
def potential(request, alloy_potential, setfl_potential):
    return alloy_potential if request.param == "analytic" else setfl_potential


def test_cohesive_energies_and_lattice_parameters_of_all_metals():
    """Vertex of the parabola through three lattice parameters, without the switch at 6.5 Å."""
    step = 1e-3
    energies = []
    for symbol in METALS:
        frames = [_crystal(symbol, scale) for scale in (1 - step, 1, 1 + step)]
        energies.append(zhou2004([symbol], cutoff=7.2)(Structures.from_ase(frames)).energy / len(frames[0]))
    below, at, above = torch.stack(energies).T
    offset = 0.5 * (below - above) / (below + above - 2 * at)
    energies, lengths = at - 0.25 * (below - above) * offset, 1 + step * offset
    expected = torch.tensor([[-energy, a] for _, energy, a in METALS.values()], dtype=torch.float64)
    torch.testing.assert_close(energies, expected[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(lengths * expected[:, 1], expected[:, 1], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("symbol", "expected"), SURFACE_ENERGIES.items())
def test_unrelaxed_surface_energies(symbol, expected):
    a = METALS[symbol][2]
    slab = fcc111(symbol, (1, 1, 12), a=a, vacuum=10.0)
    potential = zhou2004([symbol])
    energies = potential(Structures.from_ase([slab, bulk(symbol, "fcc", a=a)])).energy
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    gamma = float(energies[0] - len(slab) * energies[1]) / (2 * area) * 16.02176634
    assert gamma == pytest.approx(expected, abs=0.005)


def _published(symbol):
    names = "r_e f_e rho_e rho_s alpha beta a b kappa lambda_ f0 f1 f2 f3 m0 m1 m2 m3 eta f_high rho_l".split()
    return dict(zip(names, PARAMETERS[symbol]))


def _published_density(symbol, r):
    p = _published(symbol)
    return p["f_e"] * np.exp(-p["beta"] * (r / p["r_e"] - 1)) / (1 + (r / p["r_e"] - p["lambda_"]) ** 20)


def _published_pair_energy(symbol, r):
    p = _published(symbol)
    repulsion = p["a"] * np.exp(-p["alpha"] * (r / p["r_e"] - 1)) / (1 + (r / p["r_e"] - p["kappa"]) ** 20)
    attraction = p["b"] * np.exp(-p["beta"] * (r / p["r_e"] - 1)) / (1 + (r / p["r_e"] - p["lambda_"]) ** 20)
    return repulsion - attraction


def _switch(r, start, stop):
    x = np.clip((r - start) / (stop - start), 0, 1)
    return 1 - x**3 * (10 - 15 * x + 6 * x**2)


@pytest.mark.parametrize(
    ("elements", "cutoff", "width"), [(PARAMETERS, 6.5, 0.5), (("Cr", "Zr", "Ag"), 7.2, 0.5), (("Ta", "Mg"), 5.3, 0.8)]
)
def test_tables_are_accurate_to_1e_10(elements, cutoff, width):
    potential = zhou2004(elements, cutoff=cutoff, width=width)
    r = np.concatenate([np.linspace(0.8, cutoff, 1501), [cutoff - width, cutoff, cutoff + 0.1]])
    switch = _switch(r, cutoff - width, cutoff)
    densities = {a: _published_density(a, r) for a in elements}
    for a, density in densities.items():
        np.testing.assert_allclose(potential.density(a, r), switch * density, atol=1e-10, rtol=1e-10)
    for a, b in itertools.combinations_with_replacement(elements, 2):
        f_a, f_b = densities[a], densities[b]
        phi = 0.5 * (f_b / f_a * _published_pair_energy(a, r) + f_a / f_b * _published_pair_energy(b, r))
        np.testing.assert_allclose(potential.pair_energy(a, b, r), switch * phi, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("symbol", PARAMETERS)
def test_embedding_energy_is_the_published_one_and_joins(symbol):
    p = _published(symbol)
    potential = zhou2004([symbol])
    ends = np.array([p["rho_l"], 1.15]) * p["rho_e"]
    rho = np.concatenate([np.linspace(0, 4, 401)[1:] * p["rho_e"], [50 * p["rho_e"]]])
    low = sum(p[f"f{k}"] * (rho / ends[0] - 1) ** k for k in range(4))
    middle = sum(p[f"m{k}"] * (rho / p["rho_e"] - 1) ** k for k in range(4))
    x = rho / p["rho_s"]
    high = p["f_high"] * (1 - p["eta"] * np.log(x)) * x ** p["eta"]
    expected = np.where(rho < ends[0], low, np.where(rho < ends[1], middle, high))
    np.testing.assert_allclose(potential.embedding_energy(symbol, rho), expected, atol=1.5e-6, rtol=1e-6)
    tiny = 1e-9
    around = potential.embedding_energy(symbol, np.concatenate([ends - tiny, ends + tiny, [0.0]]))
    np.testing.assert_allclose(around[:2], around[2:4], atol=1e-8)
    assert abs(around[4]) < 1e-14


def test_isolated_atoms_have_no_energy(potential):
    evaluation = potential(Structures.from_ase(Atoms(ALLOY, [[0, 0, 20 * i] for i in range(5)])))
    assert evaluation.energies.abs().max() < 1e-12
    assert evaluation.forces.abs().max() == 0


def test_forces_and_stress_are_derivatives(potential):
    atoms = _alloy((2, 1, 1), seed=1)
    evaluation = potential(Structures.from_ase(atoms))
    step = 1e-4
    frames = []
    for k in range(6):
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions.reshape(-1)[k] += sign * step
            frames.append(moved)
    for a, b in itertools.product(range(3), repeat=2):
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            frames.append(strained)
    energies = potential(Structures.from_ase(frames)).energy.reshape(-1, 2)
    slopes = (energies[:, 0] - energies[:, 1]) / (2 * step)
    np.testing.assert_allclose(evaluation.forces.reshape(-1)[:6], -slopes[:6], atol=1e-6)
    np.testing.assert_allclose(-evaluation.virials[0], slopes[6:].reshape(3, 3), atol=1e-5)


def test_bodies_agree(potential):
    """The loops of embedded atoms, those of all star potentials, and vectorised torch."""
    atoms = _alloy((2, 1, 1), seed=2)
    structures = Structures.from_ase([atoms, _alloy((1, 1, 1), seed=3)])
    pairs = extended_pairs(structures, potential.cutoff + 0.7)  # lists reach beyond the cutoff
    positions = pairs.positions(structures)
    types = potential.types(structures.species)[pairs.owners]
    weights = torch.linspace(0.5, 1.5, len(positions), dtype=torch.float64)
    lists = (types, pairs.second, pairs.offsets, potential.parameters, potential.tables, potential.kind)
    expected = potential.operator.reference(positions, weights, *lists)
    for body in (accumulate, _star_kernels.accumulate):
        results = [np.zeros((len(positions), *shape)) for shape in ((), (3,), (3, 3))]
        arrays = [t.numpy() if isinstance(t, torch.Tensor) else t for t in lists]
        assert body(positions.numpy(), weights.numpy(), *arrays, True, *results) == -1
        for result, part in zip(results, expected):
            np.testing.assert_allclose(result, part, atol=1e-11)


def test_second_derivatives_through_torch_agree_with_the_hessian(potential):
    atoms = _alloy((1, 1, 1), seed=4)
    structures = Structures.from_ase(atoms).with_gradients()
    forces = potential(structures).forces
    (row,) = torch.autograd.grad(-forces[1, 2], structures.leaf_positions)
    np.testing.assert_allclose(potential.hessian(structures).dense()[5], row.reshape(-1), atol=1e-9)


def test_hessian_of_copper_is_the_derivative_of_its_forces():
    potential = zhou2004(["Cu"])
    atoms = bulk("Cu", "fcc", a=3.615, cubic=True)
    atoms.positions += np.random.default_rng(5).normal(scale=0.05, size=(4, 3))
    step = 1e-4
    frames = []
    for k in range(12):
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions.reshape(-1)[k] += sign * step
            frames.append(moved)
    forces = potential(Structures.from_ase(frames)).forces.reshape(12, 2, 12)
    hessian = potential.hessian(Structures.from_ase(atoms)).dense()
    np.testing.assert_allclose(hessian, -(forces[:, 0] - forces[:, 1]) / (2 * step), atol=2e-6)
    np.testing.assert_allclose(hessian.reshape(12, 4, 3).sum(1), 0, atol=1e-10)


def test_energy_is_smooth_at_the_cutoff(alloy_potential):
    separations = alloy_potential.cutoff + np.array([-1e-3, -1e-4, 1e-4])
    frames = [Atoms("CuZr", [[0, 0, 0], [0, 0, r]]) for r in separations]
    evaluation = alloy_potential(Structures.from_ase(frames))
    assert evaluation.energy[0].abs() < 1e-8
    assert evaluation.energy[1].abs() < 1e-11
    assert evaluation.energy[2].abs() < 1e-14
    assert evaluation.forces[2:4].abs().max() < 1e-5


def test_atoms_far_closer_than_any_table_still_repel(alloy_potential):
    frames = [Atoms("Ta2", [[0, 0, 0], [0, 0, r]]) for r in (1e-2, 0.3, 0.5, 0.8)]
    evaluation = alloy_potential(Structures.from_ase(frames))
    assert torch.isfinite(evaluation.energy).all()
    assert (evaluation.energy.diff() < 0).all()
    assert (evaluation.forces[1::2, 2] > 0).all()


def test_float32_is_accurate_to_single_precision(alloy_potential):
    atoms = _alloy((2, 2, 2), seed=6)
    double, single = (alloy_potential(Structures.from_ase(atoms, dtype=t)) for t in (torch.float64, torch.float32))
    assert single.forces.dtype == torch.float32
    np.testing.assert_allclose(single.energies, double.energies, atol=2e-5)
    np.testing.assert_allclose(single.forces, double.forces, atol=2e-4)


def test_the_number_of_threads_does_not_matter(alloy_potential):
    structures = Structures.from_ase(_alloy((3, 3, 3), seed=7))
    before = get_threads()
    results = []
    try:
        for threads in (1, 2):
            set_threads(threads)
            results.append(alloy_potential(structures))
    finally:
        set_threads(before)
    np.testing.assert_allclose(results[0].forces, results[1].forces, atol=1e-12)
    np.testing.assert_allclose(results[0].flux_tensors, results[1].flux_tensors, atol=1e-11)


def test_setfl_files_keep_the_potential(alloy_potential, setfl_potential, tmp_path):
    structures = Structures.from_ase([_alloy(seed=8), _alloy((1, 1, 1), seed=9)])
    analytic, table = alloy_potential(structures), setfl_potential(structures)
    np.testing.assert_allclose(table.energies, analytic.energies, atol=1e-6)
    assert setfl_potential.symbols == ALLOY
    assert setfl_potential.cutoff == alloy_potential.cutoff
    path = tmp_path / "again.eam.alloy"
    setfl_potential.to_setfl(path, n_distances=2000, n_densities=2000, max_density=123.515964)
    np.testing.assert_allclose(EAM.from_setfl(path)(structures).energies, table.energies, atol=1e-6)


def test_tables_from_a_file_go_on_beyond_their_ends(setfl_potential):
    """A straight line for the embedding energy; nothing is clamped."""
    end = 4 * PARAMETERS["Ta"][2]
    rho = end + np.array([0.0, 10.0, 20.0])
    energies = setfl_potential.embedding_energy("Ni", rho)
    assert np.diff(energies) == pytest.approx(np.diff(energies)[[0, 0]], abs=1e-9)
    assert abs(np.diff(energies)[0]) > 1e-3


def _energy_after(potential, atoms, numbers, i, j):
    swapped = numbers.copy()
    swapped[[i, j]] = swapped[[j, i]]
    changed = atoms.copy()
    changed.numbers = swapped
    return changed


def _check_swaps(potential, atoms, couples):
    occupation = potential.occupation(Structures.from_ase(atoms))
    before = float(potential(Structures.from_ase(atoms)).energy)
    for start in range(0, len(couples), 50):
        part = couples[start : start + 50]
        frames = [_energy_after(potential, atoms, atoms.numbers, i, j) for i, j in part]
        expected = potential(Structures.from_ase(frames)).energy.numpy() - before
        found = [potential.swap_delta(occupation, i, j) for i, j in part]
        np.testing.assert_allclose(found, expected, atol=1e-10)
    assert not occupation.changes.any()


@pytest.mark.parametrize(
    ("repeat", "n_swaps"),
    [((3, 3, 3), 200), ((2, 2, 2), 600), ((1, 1, 1), 12), ((2, 1, 1), 188)],
    ids=["large", "images-interact", "own-images", "thin"],
)
def test_swap_delta_is_the_difference_of_energies(alloy_potential, repeat, n_swaps):
    atoms = _alloy(repeat, seed=10)
    couples = np.random.default_rng(11).integers(len(atoms), size=(n_swaps, 2))
    couples[: n_swaps // 4, 1] = (couples[: n_swaps // 4, 0] + 1) % len(atoms)  # neighbours
    _check_swaps(alloy_potential, atoms, couples)


def test_swap_delta_with_tables_from_a_file(setfl_potential):
    atoms = _alloy((2, 1, 1), seed=12)
    _check_swaps(setfl_potential, atoms, np.array(list(itertools.permutations(range(8), 2))))


def test_swap_delta_of_a_perfect_lattice_with_cancelling_changes(alloy_potential):
    """Equal distances from both atoms cancel exactly in the densities of common neighbours."""
    atoms = bulk("Cu", "fcc", a=3.9, cubic=True).repeat(2)
    atoms.symbols[::3] = "Ag"
    _check_swaps(alloy_potential, atoms, np.array([(0, j) for j in range(1, 32)]))


def test_swaps_keep_the_occupation_up_to_date(alloy_potential):
    atoms = _alloy((2, 2, 2), seed=13)
    occupation = alloy_potential.occupation(Structures.from_ase(atoms))
    numbers = atoms.numbers.copy()
    energy = float(alloy_potential(Structures.from_ase(atoms)).energy)
    for i, j in np.random.default_rng(14).integers(len(atoms), size=(200, 2)):
        energy += alloy_potential.swap_delta(occupation, i, j)
        alloy_potential.swap(occupation, i, j)
        numbers[[i, j]] = numbers[[j, i]]
    atoms.numbers = numbers
    structures = Structures.from_ase(atoms)
    np.testing.assert_array_equal(np.array(alloy_potential.species)[occupation.types], numbers)
    np.testing.assert_allclose(occupation.densities, alloy_potential.occupation(structures).densities, atol=1e-10)
    assert energy == pytest.approx(float(alloy_potential(structures).energy), abs=1e-9)


def test_evaluator_agrees(potential):
    atoms = _alloy((2, 2, 2), seed=15)
    structures = Structures.from_ase(atoms)
    evaluator = Evaluator(potential, structures, skin=0.8)
    evaluator(atoms.positions, atoms.cell.array[None], pieces=True)
    evaluation = potential(structures)
    np.testing.assert_allclose(evaluator.forces, evaluation.forces, atol=1e-11)
    np.testing.assert_allclose(evaluator.flux_tensors, evaluation.flux_tensors, atol=1e-10)


def test_unknown_elements_are_refused_with_the_list():
    with pytest.raises(ValueError, match="'Mn'") as caught:
        zhou2004(["Cu", "Mn"])
    assert all(symbol in str(caught.value) for symbol in PARAMETERS)
    assert len(PARAMETERS) == 17
    with pytest.raises(ValueError, match=r"atom 1 of structure 0 is Ir.*accepted are Cu, Ag"):
        zhou2004(["Cu", "Ag"])(Structures.from_ase(Atoms("CuIr", [[0, 0, 0], [0, 0, 2.5]])))


@pytest.mark.parametrize(
    ("elements", "keywords", "message"),
    [
        ([], {}, "at least one"),
        (["Cu", "Cu"], {}, "each once"),
        (["Cu"], {"cutoff": 0.5}, "cutoff is 0.5"),
        (["Cu"], {"cutoff": np.inf}, "cutoff is inf"),
        (["Cu"], {"width": 0.0}, "width 0.0"),
        (["Cu"], {"width": 7.0}, "width 7.0"),
    ],
)
def test_bad_arguments_are_refused(elements, keywords, message):
    with pytest.raises(ValueError, match=message):
        zhou2004(elements, **keywords)


def test_bad_curves_and_atoms_are_refused(alloy_potential, tmp_path):
    with pytest.raises(ValueError, match=r"'Pb' has no parameters; accepted are Cu, Ag"):
        alloy_potential.density("Pb", np.ones(1))
    with pytest.raises(ValueError, match="atom 9 is not among the 4 atoms"):
        alloy_potential.swap_delta(alloy_potential.occupation(Structures.from_ase(_alloy((1, 1, 1)))), 0, 9)
    with pytest.raises(ValueError, match="n_distances is 3"):
        alloy_potential.to_setfl(tmp_path / "x", n_distances=3)
    with pytest.raises(ValueError, match="max_density is -1"):
        alloy_potential.to_setfl(tmp_path / "x", max_density=-1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda words: words[:-1], "ends early"),
        (lambda words: [*words, "0.0"], "goes on"),
        (lambda words: ["1", "Qq", *words[2:]], "elements are Qq"),
        (lambda words: [*words[:-1], "nan"], "not finite"),
        (lambda words: [*words[:3], "-0.1", *words[4:]], "must be positive"),
        (lambda words: ["copper", *words[1:]], "copper"),
    ],
)
def test_broken_setfl_files_are_refused(change, message, tmp_path):
    path = tmp_path / "Cu.eam.alloy"
    zhou2004(["Cu"]).to_setfl(path, n_distances=20, n_densities=20)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], " ".join(change(" ".join(lines[3:]).split()))]))
    with pytest.raises(ValueError, match=f"Cu.eam.alloy is not a setfl file.*{message}"):
        EAM.from_setfl(path)
