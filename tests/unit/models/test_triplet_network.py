"""Networks of three-centre features: reflection, wrong orders and signs, forces, quadratic features, bad input."""

import numpy as np
import pytest
import torch
from ase import Atoms

from matterscape.basis import LaplacianEigenstates, ShiftedCosine
from matterscape.datasets.degenerate import ring_pairs
from matterscape.descriptors import SphericalExpansion, forces
from matterscape.descriptors.three_centre import TripletPCA, three_centre
from matterscape.models.ridge import RidgeModel
from matterscape.models.triplet_network import TripletNet, quadratic_features
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

N_PAIRS = 24


@pytest.fixture(scope="module")
def expansion():
    return SphericalExpansion(
        [5],
        cutoff=2.0,
        max_radial=2,
        max_angular=3,
        smearing=None,
        radial_basis=LaplacianEigenstates(2, 2.0),
        cutoff_function=ShiftedCosine(2.0, 0.1),
    )


@pytest.fixture(scope="module")
def frames():
    return [Atoms("B8", positions) for positions in ring_pairs(N_PAIRS, 3)[0]]


@pytest.fixture(scope="module")
def projection(expansion, frames):
    return TripletPCA.fit(expansion, Structures.from_ase(frames), "first", n_even=24, n_odd=12)


@pytest.fixture(scope="module")
def triplets(expansion, frames, projection):
    with torch.no_grad():
        return three_centre(expansion, Structures.from_ase(frames), "first", projection=projection)


@pytest.fixture(scope="module")
def energies(triplets):
    """Quadratic in the triplets, along the direction in which partners differ most."""
    features = quadratic_features(triplets).numpy()
    direction = np.linalg.svd(deltas(features), full_matrices=False)[2][0]
    return -250 + features @ direction / (features @ direction).std()


@pytest.fixture(scope="module")
def trained(triplets, energies):
    network = TripletNet(triplets.even.shape[1], triplets.odd.shape[1], width=16, seed=1)
    network.history = network.fit(
        triplets, energies, epochs=150, batch_size=12, learning_rate=5e-3, progress=lambda done, message: None
    )
    return network


def deltas(values):
    values = np.asarray(values)
    return values[::2] - values[1::2]


def error_of_differences(predicted, true):
    """Root mean square error of the differences between partners, relative to their standard deviation."""
    return np.sqrt(np.mean((deltas(predicted) - deltas(true)) ** 2)) / deltas(true).std()


@torch.no_grad()
def predictions(network, triplets):
    return network(triplets).numpy()


def test_sums_see_no_difference_and_networks_do(trained, triplets, energies):
    linear = RidgeModel(regularisation=1e-3).fit(triplets.sums(triplets.even), energies)
    of_sums = linear.predict(triplets.sums(triplets.even))
    assert np.abs(deltas(of_sums)).max() < 1e-9
    assert error_of_differences(of_sums, energies) > 0.98
    assert trained.history.complete
    assert error_of_differences(predictions(trained, triplets), energies) < 0.5  # of what it was trained with


def test_nonlinearity_after_the_sum_is_too_late(trained, triplets, energies):
    summed = triplets.averaged()
    assert len(summed) == 2 * N_PAIRS
    network = TripletNet(triplets.even.shape[1], triplets.odd.shape[1], width=16, seed=1)
    network.fit(summed, energies, epochs=150, batch_size=12, learning_rate=5e-3, progress=lambda done, message: None)
    found = predictions(network, summed)
    assert np.abs(deltas(found)).max() < 1e-9
    assert error_of_differences(found, energies) > 0.98
    means = (energies[::2] + energies[1::2]) / 2
    assert np.corrcoef(found[::2], means)[0, 1] > 0.7  # not because it has learnt nothing


def test_mirror_images_have_the_same_energy(trained, expansion, frames, projection):
    flipped = [Atoms("B8", atoms.positions * [1, 1, -1]) for atoms in frames]
    with torch.no_grad():
        ours, theirs = (
            three_centre(expansion, Structures.from_ase(some), "first", projection=projection)
            for some in (frames, flipped)
        )
        difference = trained(ours) - trained(theirs)
        both = [torch.cat([some.even, some.odd], dim=1) for some in (ours, theirs)]
        one_sign = [some.averages(trained.psi(values)) for some, values in zip((ours, theirs), both)]
    assert difference.abs().max() < 1e-12 * trained.scale * 100
    # without the mean of both signs they differ
    assert trained.scale * (one_sign[0] - one_sign[1]).abs().max() > 1e-4


def test_energies_do_not_depend_on_the_order_of_atoms_and_the_frame(trained, expansion, frames, projection):
    atoms = frames[0].copy()
    atoms = atoms[[0, 4, 2, 7, 1, 3, 6, 5]]
    atoms.rotate(40, (1, 2, 3))
    with torch.no_grad():
        ours, theirs = (
            trained(three_centre(expansion, Structures.from_ase(some), "first", projection=projection))
            for some in (frames[0], atoms)
        )
    assert float(ours - theirs) == pytest.approx(0.0, abs=1e-11)


def test_forces_are_derivatives_of_the_energy(trained, expansion, frames, projection):
    def energy(atoms):
        structures = Structures.from_ase(atoms).with_gradients()
        total = trained(three_centre(expansion, structures, "first", projection=projection)).sum()
        return total, structures

    total, structures = energy(frames[1])
    found = forces(total, structures).numpy()
    step, numerical = 1e-5, np.zeros((8, 3))
    for atom in range(8):
        for axis in range(3):
            sides = []
            for sign in (1, -1):
                moved = frames[1].copy()
                moved.positions[atom, axis] += sign * step
                sides.append(float(energy(moved)[0].detach()))
            numerical[atom, axis] = -(sides[0] - sides[1]) / (2 * step)
    assert np.linalg.norm(found - numerical) < 1e-7 * np.linalg.norm(numerical)
    assert np.linalg.norm(numerical) > 1e-3


def test_quadratic_features_tell_partners_apart(triplets):
    features = quadratic_features(triplets)
    n_even, n_odd = triplets.even.shape[1], triplets.odd.shape[1]
    assert features.shape == (2 * N_PAIRS, n_even + n_even * (n_even + 1) // 2 + n_odd * (n_odd + 1) // 2)
    torch.testing.assert_close(quadratic_features(triplets.mirrored()), features, rtol=0, atol=1e-12)
    first, second = features[::2], features[1::2]
    linear = slice(0, n_even)
    assert (first - second)[:, linear].abs().max() < 1e-10 * first[:, linear].abs().max()
    assert ((first - second).norm(dim=1) / first.norm(dim=1)).median() > 1e-2
    own = triplets.even[triplets.centre_index == 5]
    matrix = own.T @ own
    columns = features[5, n_even : n_even + n_even * (n_even + 1) // 2]
    assert float(columns.norm()) == pytest.approx(float(matrix.norm()), rel=1e-9)


def test_centres_without_triplets(trained, expansion, projection):
    lonely = Structures.from_ase([Atoms("B", [(0, 0, 0)]), Atoms("B2", [(0, 0, 0), (0, 0, 1.5)])]).with_gradients()
    found = trained(three_centre(expansion, lonely, "first", projection=projection))
    torch.testing.assert_close(found.detach(), trained.offset.expand(2))
    assert quadratic_features(three_centre(expansion, lonely, "first", projection=projection)).abs().max() == 0


def test_same_seed_same_network(triplets, energies):
    def train(seed):
        network = TripletNet(triplets.even.shape[1], triplets.odd.shape[1], width=8, seed=seed)
        network.fit(triplets, energies, epochs=2, batch_size=12, progress=lambda done, message: None)
        return predictions(network, triplets)

    np.testing.assert_array_equal(train(4), train(4))
    assert np.abs(train(4) - train(5)).max() > 1e-3


def test_bad_input(triplets, energies):
    with pytest.raises(ValueError, match="width is 0"):
        TripletNet(3, 2, width=0)
    with pytest.raises(ValueError, match="triplets have 24 even and 12 odd features; accepted are 3 and 2"):
        TripletNet(3, 2)(triplets)
    network = TripletNet(24, 12)
    with pytest.raises(ValueError, match="energies must have one number for each of the 48 samples"):
        network.fit(triplets, energies[:-1])
    with pytest.raises(ValueError, match="energies are all the same"):
        network.fit(triplets, np.ones_like(energies))
