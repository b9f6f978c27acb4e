"""Heat flux of Li3PS4 term by term, and what is none: virials in equal parts, sums without waves or exclusions."""

import numpy as np
import pytest
import torch
from ase import Atoms

from energy_moment import energy_moment_rate
from matterscape.potentials.bonded import AngleTerm, Bonded, PairTerm
from matterscape.potentials.ewald_parameters import Parameters
from matterscape.potentials.li3ps4 import ANGLE, BOND, LPSForceField, gamma, thiophosphates
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

NO_PAIR, NO_ANGLE = PairTerm(), AngleTerm(0.0, ANGLE.angle_deg)
BONDS = Bonded(thiophosphates, [BOND, NO_PAIR], [NO_ANGLE])
ANGLES = {sharing: Bonded(thiophosphates, [NO_PAIR] * 2, [ANGLE], sharing) for sharing in ("centre", "thirds")}


def separation(alpha):
    """A converged Ewald sum."""
    return Parameters("ewald", alpha, 6.5 / alpha, 13.0 * alpha)


def thiophosphate():
    """One distorted PS4 in vacuum and velocities of its atoms."""
    directions = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    atoms = Atoms("PS4", np.vstack([np.zeros(3), directions * 2.05 / np.sqrt(3)]))
    atoms.rattle(0.15, seed=4)
    return atoms, np.random.default_rng(5).normal(scale=0.1, size=(5, 3))


def equal_parts(atoms):
    """A third of the virial of every angle for each of its atoms (5, 3, 3), as in sums of atomic stresses."""
    tensors = np.zeros((5, 3, 3))
    for i in range(1, 5):
        for j in range(i + 1, 5):
            trio = atoms[[0, i, j]]
            # an angle has its energy at its centre, so its virial is the sum of (r - r_P) F over the ends
            a, b = trio.positions[1:] - trio.positions[0]
            lengths = np.linalg.norm([a, b], axis=1)
            cosine = a @ b / lengths.prod()
            angle = np.arccos(cosine)
            factor = 2 * ANGLE.stiffness * (angle - np.radians(ANGLE.angle_deg)) / np.sin(angle)
            force_a = factor * (b / lengths[1] - cosine * a / lengths[0]) / lengths[0]
            force_b = factor * (a / lengths[0] - cosine * b / lengths[1]) / lengths[1]
            tensors[[0, i, j]] += (np.outer(a, force_a) + np.outer(b, force_b)) / 3
    return tensors


@pytest.mark.parametrize("potential", [BONDS, *ANGLES.values()], ids=["bonds", "centre", "thirds"])
def test_each_term_is_the_rate_of_its_energy_moment(potential):
    atoms, velocities = thiophosphate()
    flux = potential(Structures.from_ase(atoms)).heat_flux(torch.from_numpy(velocities))[0].numpy()
    np.testing.assert_allclose(flux, energy_moment_rate(potential, atoms, velocities), atol=1e-6)


def test_virials_in_equal_parts_are_no_heat_flux():
    atoms, velocities = thiophosphate()
    tensors = equal_parts(atoms)
    for sharing, potential in ANGLES.items():
        result = potential(Structures.from_ase(atoms))
        # the same virial, and so the same pressure
        np.testing.assert_allclose(tensors.sum(0), result.virials[0], atol=1e-12)
        wrong = result.heat_flux(torch.from_numpy(velocities))[0].numpy()
        wrong += np.einsum("nab,nb->a", tensors - result.flux_tensors.numpy(), velocities)
        rate = energy_moment_rate(potential, atoms, velocities)
        assert np.abs(wrong - rate).max() > 0.01 * np.abs(rate).max(), sharing


def test_waves_and_exclusions_carry_heat():
    atoms = gamma() * (2, 2, 2)
    atoms.rattle(0.08, seed=7)
    structures = Structures.from_ase(atoms)
    velocities = torch.from_numpy(np.random.default_rng(8).normal(scale=0.1, size=(len(atoms), 3)))
    fluxes = []
    for alpha in (0.30, 0.36):
        # the whole does not depend on how the sum is separated; the waves alone do
        field = LPSForceField(parameters=separation(alpha))
        screened = field.ionic.pairs.with_coulomb(alpha=alpha, cutoff=separation(alpha).cutoff)
        total, bonded = field(structures), field.terms[-1](structures)
        waves = total.flux_tensors - bonded.flux_tensors - screened(structures).flux_tensors
        fluxes.append([total.heat_flux(velocities)[0], torch.einsum("nab,nb->a", waves, velocities)])
    scale = float(fluxes[0][0].abs().max())
    torch.testing.assert_close(fluxes[0][0], fluxes[1][0], atol=1e-7 * scale, rtol=0)
    assert float((fluxes[0][1] - fluxes[1][1]).abs().max()) > 1e-3 * scale
    exclusions = bonded.flux_tensors - BONDS(structures).flux_tensors - ANGLES["centre"](structures).flux_tensors
    assert float(torch.einsum("nab,nb->a", exclusions, velocities).abs().max()) > 1e-3 * scale
