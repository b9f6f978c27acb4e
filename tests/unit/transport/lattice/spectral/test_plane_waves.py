"""Plane waves: which fit into a cell, their polarisations and norms, and what is refused."""

import ase.build
import numpy as np
import pytest
from ase import Atoms

from matterscape.structures import Structures
from matterscape.transport.lattice.spectral.plane_waves import (
    commensurate_wavevectors,
    plane_waves,
    polarisations,
    shells,
)

pytestmark = pytest.mark.unit

SKEWED = np.array([[6.0, 0, 0], [1.0, 7.0, 0], [-0.5, 0.8, 8.0]])


@pytest.fixture(scope="module")
def alloy() -> Structures:
    rng = np.random.default_rng(1)
    return Structures.from_ase(Atoms("SiGe" * 6, rng.uniform(0, 1, (12, 3)) @ SKEWED, cell=SKEWED, pbc=True))


def test_shells_of_a_cube():
    cube = Structures.from_ase(Atoms("Si", cell=[5.0] * 3, pbc=True))
    wavevectors = commensurate_wavevectors(cube, 2.3 * 2 * np.pi / 5)
    groups = shells(wavevectors)
    assert [len(group) for group in groups] == [3, 6, 4, 3, 12]  # half of 6, 12, 8, 6, 24
    lengths = [np.linalg.norm(wavevectors[group], axis=1) for group in groups]
    for own, square in zip(lengths, (1, 2, 3, 4, 5)):
        np.testing.assert_allclose(own, np.sqrt(square) * 2 * np.pi / 5, rtol=1e-12)
    both = np.concatenate([wavevectors, -wavevectors]).round(9)
    assert len(np.unique(both, axis=0)) == 2 * len(wavevectors)  # one of every pair


def test_wavevectors_of_a_skewed_cell_are_all_there(alloy):
    wavevectors = commensurate_wavevectors(alloy, 2.0)
    reciprocal = 2 * np.pi * np.linalg.inv(SKEWED).T
    grid = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3), axis=-1).reshape(-1, 3) @ reciprocal
    lengths = np.linalg.norm(grid, axis=1)
    assert len(wavevectors) == ((lengths <= 2.0) & (lengths > 0)).sum() / 2
    assert (np.diff(np.linalg.norm(wavevectors, axis=1)) > -1e-9).all()


def test_polarisations_are_an_orthonormal_frame(alloy):
    wavevectors = commensurate_wavevectors(alloy, 2.0)
    frames = np.concatenate([polarisations(wavevectors, b) for b in ("longitudinal", "transverse")], axis=1)
    np.testing.assert_allclose(
        np.einsum("qpx,qrx->qpr", frames, frames), np.tile(np.eye(3), (len(frames), 1, 1)), atol=1e-14
    )
    np.testing.assert_allclose(np.cross(frames[:, 0], wavevectors), 0, atol=1e-12)


def test_waves_have_norm_one_and_carry_the_root_of_the_mass(alloy):
    wavevectors = commensurate_wavevectors(alloy, 1.5)
    masses = alloy.to_ase()[0].get_masses()
    for branch, number in (("longitudinal", 1), ("transverse", 2)):
        waves = plane_waves(alloy, wavevectors, branch)
        assert waves.shape == (36, len(wavevectors), number)
        np.testing.assert_allclose((np.abs(waves) ** 2).sum(axis=0), 1, rtol=1e-12)
        per_atom = (np.abs(waves.reshape(12, 3, len(wavevectors), number)) ** 2).sum(axis=1)
        np.testing.assert_allclose(per_atom / masses[:, None, None], 1 / masses.sum(), rtol=1e-12)
    given = plane_waves(alloy, wavevectors, "longitudinal", masses=np.ones(12))
    np.testing.assert_allclose((np.abs(given.reshape(12, 3, -1)) ** 2).sum(axis=1), 1 / 12, rtol=1e-12)


def test_waves_do_not_see_which_image_an_atom_stands_in(alloy):
    wavevectors = commensurate_wavevectors(alloy, 1.5)
    moved = alloy.to_ase()[0]
    moved.positions[::3] += 2 * SKEWED[0] - SKEWED[2]
    np.testing.assert_allclose(
        plane_waves(Structures.from_ase(moved), wavevectors, "transverse"),
        plane_waves(alloy, wavevectors, "transverse"),
        atol=1e-12,
    )


def test_refused(alloy):
    fitting = commensurate_wavevectors(alloy, 1.5)
    with pytest.raises(ValueError, match="whole multiples"):
        plane_waves(alloy, fitting + [1e-3, 0, 0], "longitudinal")
    with pytest.raises(ValueError, match=r"\(0, 3\).*at least one"):
        plane_waves(alloy, np.empty((0, 3)), "longitudinal")
    with pytest.raises(ValueError, match="hold zero"):
        plane_waves(alloy, np.zeros((1, 3)), "longitudinal")
    with pytest.raises(ValueError, match="hold zero or a number that is not finite"):
        plane_waves(alloy, np.full((1, 3), np.nan), "longitudinal")
    with pytest.raises(ValueError, match="branch is 'L'.*'longitudinal', 'transverse'"):
        plane_waves(alloy, fitting, "L")
    with pytest.raises(ValueError, match="12 positive, finite numbers"):
        plane_waves(alloy, fitting, "longitudinal", masses=np.zeros(12))
    with pytest.raises(ValueError, match="shortest that fits"):
        commensurate_wavevectors(alloy, 0.1)
    with pytest.raises(ValueError, match="periodic in all three"):
        plane_waves(Structures.from_ase(ase.build.molecule("H2O")), fitting, "longitudinal")
    with pytest.raises(TypeError, match="accepted is Structures"):
        commensurate_wavevectors(alloy.to_ase()[0], 2.0)
