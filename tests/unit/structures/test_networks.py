"""Continuous random networks: Keating energy, bond switches, the annealing's rules, rings, bridges."""

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from matterscape.structures import _network_kernels as kernels
from matterscape.structures import networks
from matterscape.structures.networks import (
    SHELLS,
    SILICON,
    Keating,
    Network,
    alternate_species,
    decorate_bridges,
    diamond_network,
    network_statistics,
    www_network,
)

pytestmark = pytest.mark.unit

BOUND = networks.EARLY_REJECTION / SILICON.alpha
SHORT = ((2.0, 10), (0.5, 15), (0.3, 15))


@pytest.fixture(scope="module")
def glass() -> Network:
    return www_network(64, seed=3, schedule=SHORT)


def rattled(network: Network, amplitude: float, seed: int = 0) -> Network:
    noise = np.random.default_rng(seed).normal(scale=amplitude, size=network.positions.shape)
    return Network(network.positions + noise, network.edges, network.neighbours, network.images)


def arrays(network: Network) -> tuple[np.ndarray, ...]:
    return tuple(a.copy() for a in (network.positions, network.edges, network.neighbours, network.images))


def assert_consistent(neighbours: np.ndarray, images: np.ndarray) -> None:
    """Fourfold, simple, and every bond known to both of its atoms with opposite images."""
    for i in range(len(neighbours)):
        assert len(set(neighbours[i])) == 4 and i not in neighbours[i]
        for k, j in enumerate(neighbours[i]):
            (back,) = np.flatnonzero(neighbours[j] == i)
            np.testing.assert_array_equal(images[j, back], -images[i, k])


def test_energy_is_keating_s_formula_and_forces_its_derivative():
    network = rattled(diamond_network(2), 0.1)
    alpha, beta, d = SILICON
    bonds, images = network.bonds
    vectors = network.positions[bonds[:, 1]] + images @ network.cell - network.positions[bonds[:, 0]]
    expected = 3 / 16 * alpha / d**2 * (((vectors**2).sum(axis=1) - d**2) ** 2).sum()
    for arms in network.bond_vectors:
        for k in range(4):
            for l in range(k):
                expected += 3 / 8 * beta / d**2 * (arms[k] @ arms[l] + d**2 / 3) ** 2
    assert network.energies.sum() == pytest.approx(expected, rel=1e-13)

    gradient = np.zeros_like(network.positions)
    kernels.keating(*arrays(network), tuple(SILICON), np.arange(64), np.empty(64), gradient)
    step = 1e-5
    for atom, axis in ((0, 0), (17, 1), (63, 2)):
        energies = []
        for sign in (1, -1):
            network.positions[atom, axis] += sign * step
            energies.append(network.energies.sum())
            network.positions[atom, axis] -= sign * step
        assert gradient[atom, axis] == pytest.approx((energies[0] - energies[1]) / (2 * step), rel=1e-7)


def test_energy_along_a_line_is_the_quartic_polynomial():
    network = rattled(diamond_network(2), 0.2)
    direction = np.random.default_rng(1).normal(size=(64, 3))
    coefficients = np.empty(5)
    kernels._along_line(*arrays(network), tuple(SILICON), np.arange(64), direction, coefficients)
    for step in (-0.3, 0.1, 1.7):
        moved = Network(network.positions + step * direction, network.edges, network.neighbours, network.images)
        assert np.polynomial.Polynomial(coefficients)(step) == pytest.approx(moved.energies.sum(), rel=1e-12)
    coefficients[1] = -abs(coefficients[1])
    slope = np.polynomial.Polynomial(coefficients).deriv()
    roots = slope.roots()
    first = min(root.real for root in roots if abs(root.imag) < 1e-9 and root.real > 0)
    assert kernels._first_minimum(coefficients) == pytest.approx(first, rel=1e-8)


def test_diamond_is_the_ground_state_with_two_six_rings_per_atom():
    network = diamond_network(3)
    assert_consistent(network.neighbours, network.images)
    assert network.energies.max() < 1e-20
    statistics = network_statistics(network, largest_ring=12)
    assert statistics.rings_per_atom == {6: 2.0}
    assert statistics.coordination == {4: 1.0}
    assert statistics.bond_length_mean == pytest.approx(2.35)
    assert statistics.bond_angle_mean == pytest.approx(np.degrees(np.arccos(-1 / 3)))
    assert statistics.bond_angle_deviation < 1e-5
    assert statistics.atoms_per_volume == pytest.approx(8 / (4 * 2.35 / np.sqrt(3)) ** 3)


def test_a_switch_keeps_the_network_consistent_and_is_undone_by_its_reverse():
    network = diamond_network(2)
    _, _, neighbours, images = arrays(network)
    b, slot_a = 5, 1
    c = neighbours[b, 0]
    slot_d = int(np.flatnonzero(neighbours[c] != b)[0])
    a, d = neighbours[b, slot_a], neighbours[c, slot_d]
    ends = [network.positions[i] for i in (a, c)]
    kernels.switch(neighbours, images, b, c, slot_a, slot_d)
    assert_consistent(neighbours, images)
    assert c in neighbours[a] and d in neighbours[b] and b not in neighbours[a]
    new = ends[1] + images[a, list(neighbours[a]).index(c)] * network.edges - ends[0]
    assert np.linalg.norm(new) == pytest.approx(2.35 * np.sqrt(8 / 3))  # second neighbours along the chain A-B-C
    kernels.switch(neighbours, images, c, b, slot_d, slot_a)
    np.testing.assert_array_equal(neighbours, network.neighbours)
    np.testing.assert_array_equal(images, network.images)


def attempt_one_by_one(network: Network, draws: np.ndarray, temperature: float, bound: float) -> np.ndarray:
    """Outcome of each attempt from one and the same network."""
    outcomes, outcome = np.empty(len(draws), np.int8), np.empty(1, np.int8)
    for n in range(len(draws)):
        state = (*arrays(network), network.energies)
        kernels.attempt_switches(*state, tuple(SILICON), temperature, draws[n : n + 1], SHELLS, bound, 0.0, outcome)
        outcomes[n] = outcome[0]
    return outcomes


@pytest.mark.parametrize("temperature", [0.3, 2.0])
def test_early_rejection_never_loses_an_acceptable_switch(glass, temperature):
    draws = np.random.default_rng(5).random((1500, 5))
    patient = attempt_one_by_one(glass, draws, temperature, np.inf)
    assert not (patient == kernels.REJECTED_EARLY).any()
    hasty = attempt_one_by_one(glass, draws, temperature, BOUND)
    accepted = patient == kernels.ACCEPTED
    assert accepted.sum() > 5
    np.testing.assert_array_equal(hasty == kernels.ACCEPTED, accepted)
    assert (hasty == kernels.REJECTED_EARLY).mean() > 0.5


def test_the_threshold_is_metropolis_rule(glass):
    draw = np.random.default_rng(0).random((40, 5))
    outcome = np.empty(1, np.int8)
    tested = 0
    for row in draw:
        state = (*arrays(glass), glass.energies)
        before = state[-1].sum()
        arguments = (SHELLS, np.inf, 0.0, outcome)
        kernels.attempt_switches(*state, tuple(SILICON), 1e9, row[None], *arguments)
        if outcome[0] == kernels.FORBIDDEN:
            continue
        rise = state[-1].sum() - before
        temperature = rise / 2 if rise > 0 else 0.3  # acceptance probability exp(-2), or 1
        probability = min(1.0, np.exp(-rise / temperature))
        for factor, expected in ((0.999, True), (1.001, False)):
            row[4] = 1 - probability * factor
            if row[4] < 0:
                continue
            again = (*arrays(glass), glass.energies)
            kernels.attempt_switches(*again, tuple(SILICON), temperature, row[None], *arguments)
            assert (outcome[0] == kernels.ACCEPTED) == expected
            if not expected:  # a rejection leaves no trace
                for old, new in zip((*arrays(glass), glass.energies), again):
                    np.testing.assert_array_equal(new, old)
        tested += 1
    assert tested > 20


def test_annealing_makes_a_fourfold_glass_of_falling_energy(glass):
    assert glass.complete
    assert_consistent(glass.neighbours, glass.images)
    hot, warm, cold = (stage["energy_per_atom"] for stage in glass.stages)
    final = glass.energies.mean()
    assert hot > warm > cold > final > 0.1
    assert [stage["temperature_eV"] for stage in glass.stages] == [2.0, 0.5, 0.3]
    statistics = network_statistics(glass)
    assert 3 not in statistics.rings_per_atom and statistics.rings_per_atom[5] > 0.1
    assert 105 < statistics.bond_angle_mean < 109.48 and statistics.bond_angle_deviation > 8
    gradient = np.zeros_like(glass.positions)
    kernels.keating(*arrays(glass), tuple(SILICON), np.arange(64), np.empty(64), gradient)
    assert np.abs(gradient).max() < 1e-6
    for scale in (0.999, 1.001):  # and no pressure
        scaled = Network(glass.positions * scale, glass.edges * scale, glass.neighbours, glass.images)
        assert scaled.energies.sum() > glass.energies.sum()


def test_local_energies_stay_those_of_the_whole_network(glass):
    state = (*arrays(glass), glass.energies)
    outcomes = np.empty(300, np.int8)
    draws = np.random.default_rng(2).random((300, 5))
    kernels.attempt_switches(*state, tuple(SILICON), 1.0, draws, SHELLS, BOUND, 2.5, outcomes)
    assert (outcomes == kernels.ACCEPTED).any()
    assert_consistent(state[2], state[3])
    moved = Network(*state[:4])
    np.testing.assert_allclose(state[4], moved.energies, rtol=0, atol=1e-12)


def test_switches_add_no_contacts(glass):
    contact = 1.25 * SILICON.bond_length
    state = (*arrays(glass), glass.energies)
    atoms = np.arange(64)
    outcome = np.empty(1, np.int8)
    refused = 0
    before = kernels.count_contacts(*state[:3], atoms, contact)
    for row in np.random.default_rng(4).random((300, 5)):
        kernels.attempt_switches(*state, tuple(SILICON), 2.0, row[None], SHELLS, BOUND, contact, outcome)
        after = kernels.count_contacts(*state[:3], atoms, contact)
        assert after <= before
        refused += outcome[0] == kernels.REJECTED
        before = after
    assert refused > 0
    pairs = neighbor_list("ij", Network(*state[:4]).to_ase(), contact)
    unbonded = sum(j not in state[2][i] for i, j in zip(*pairs))
    assert before == unbonded


def test_same_seed_same_network_and_an_interrupted_run_goes_on_to_it(glass, tmp_path, monkeypatch):
    checkpoint = tmp_path / "network.npz"
    sweeps = iter(range(100))
    advance = networks._Annealing._next

    def interrupt_later(annealing):
        if next(sweeps) == 17:
            raise KeyboardInterrupt
        return advance(annealing)

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="interrupted after 17 of 40 sweeps"):
        patch.setattr(networks._Annealing, "_next", interrupt_later)
        stopped = www_network(64, seed=3, schedule=SHORT, checkpoint=checkpoint)
    assert not stopped.complete and len(stopped.stages) == 1
    assert_consistent(stopped.neighbours, stopped.images)
    continued = www_network(64, seed=3, schedule=SHORT, checkpoint=checkpoint)
    assert continued.complete and continued.stages == glass.stages
    np.testing.assert_array_equal(continued.positions, glass.positions)
    np.testing.assert_array_equal(continued.neighbours, glass.neighbours)
    with pytest.raises(ValueError, match="belongs to another run"):
        www_network(64, seed=4, schedule=SHORT, checkpoint=checkpoint)
    other = www_network(64, seed=np.random.default_rng(0), schedule=((2.0, 2),))
    assert not np.array_equal(other.neighbours, www_network(64, seed=1, schedule=((2.0, 2),)).neighbours)


def test_rings_do_not_depend_on_the_cell_that_describes_them(glass):
    rings = kernels.count_rings(glass.neighbours, glass.images, 12)
    n_atoms = len(glass.positions)
    # a cell doubled along x: even images stay inside it
    neighbours = np.concatenate([glass.neighbours, glass.neighbours])
    images = np.concatenate([glass.images, glass.images])
    copy = np.repeat([0, 1], n_atoms)[:, None] + images[:, :, 0]
    neighbours = neighbours + n_atoms * (copy % 2)
    images[:, :, 0] = copy // 2
    np.testing.assert_array_equal(kernels.count_rings(neighbours, images, 12), 2 * rings)
    np.testing.assert_array_equal(kernels.count_rings(glass.neighbours, glass.images, 7), rings[:8])


def test_rings_of_the_clathrate_are_its_faces():
    # type I clathrate: 48 pentagons and 6 hexagons in a cell of 46 atoms are the faces of its 8 cages
    from ase.spacegroup import crystal

    atoms = crystal(["Si"] * 3, [(0.25, 0, 0.5), (0.1837, 0.1837, 0.1837), (0, 0.3077, 0.1172)], spacegroup=223,
                    cellpar=[10.19] * 3 + [90] * 3)  # fmt: skip
    first, second, images = neighbor_list("ijS", atoms, 2.8)
    assert len(atoms) == 46 and (np.bincount(first) == 4).all()
    rings = kernels.count_rings(second.reshape(46, 4), images.reshape(46, 4, 3), 7)
    assert list(rings[:7]) == [0, 0, 0, 0, 0, 48, 6]


def test_bridges_sit_on_the_bonds_at_the_density_asked_for(glass):
    silica = decorate_bridges(glass, "Si", "O", density_g_cm3=2.20)
    assert silica.get_chemical_symbols() == ["Si"] * 64 + ["O"] * 128
    grams_per_amu = 1.66053907e-24
    assert silica.get_masses().sum() * grams_per_amu / (silica.get_volume() * 1e-24) == pytest.approx(2.20, rel=1e-7)
    first, second, distances = neighbor_list("ijd", silica, 2.1)
    bonded = (first < 64) != (second < 64)
    np.testing.assert_array_equal(np.bincount(first[bonded]), [4] * 64 + [2] * 128)
    lengths = np.linalg.norm(glass.bond_vectors, axis=2)
    scale = (silica.get_volume() / glass.edges.prod()) ** (1 / 3)
    np.testing.assert_allclose(np.sort(distances[bonded])[::4], np.sort(lengths.ravel())[::2] * scale / 2)


def like_bonds(network, atoms):
    bonds, _ = network.bonds
    return (atoms.numbers[bonds[:, 0]] == atoms.numbers[bonds[:, 1]]).mean()


def test_two_species_alternate_where_rings_allow(glass):
    crystal = diamond_network(3)
    assert like_bonds(crystal, alternate_species(crystal, seed=1)) == 0
    atoms = alternate_species(glass, ("Si", "C"), seed=1)
    assert sorted(np.bincount(atoms.numbers)[[6, 14]]) == [len(atoms) // 2] * 2
    shuffled = atoms.copy()
    shuffled.numbers = np.random.default_rng(0).permutation(atoms.numbers)
    assert 0 < like_bonds(glass, atoms) < 0.2 < 0.4 < like_bonds(glass, shuffled)
    assert (alternate_species(glass, seed=1).numbers == atoms.numbers).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: www_network(100), "n_atoms is 100; accepted is 8 k"),
        (lambda: www_network(8), "n_atoms is 8"),
        (lambda: www_network("64"), "n_atoms is '64'"),
        (lambda: www_network(64, schedule=()), "schedule is empty"),
        (lambda: www_network(64, schedule=((-1.0, 5),)), r"schedule holds \(-1.0, 5\)"),
        (lambda: www_network(64, schedule=((1.0, 0),)), r"schedule holds \(1.0, 0\)"),
        (lambda: diamond_network(1), "n_repeat is 1"),
        (lambda: network_statistics(diamond_network(2), largest_ring=20), "largest_ring is 20"),
        (lambda: decorate_bridges(diamond_network(2), "Sj", density_g_cm3=2.2), "centre is 'Sj'"),
        (lambda: alternate_species(diamond_network(2), ("Si", "Si")), "species is"),
        (lambda: alternate_species(diamond_network(2), n_sweeps=0), "n_sweeps is 0"),
        (lambda: decorate_bridges(diamond_network(2), density_g_cm3=-1), "density_g_cm3 is -1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_other_force_constants_scale_the_network():
    germanium = Keating(alpha=2.4, beta=0.7, bond_length=2.45)
    network = diamond_network(2, germanium)
    assert np.linalg.norm(network.bond_vectors, axis=2) == pytest.approx(2.45)
    assert network.energies.max() < 1e-20
