"""Charges that sit beside the atoms: a potential felt at linear combinations of the atoms of a molecule.

In a molecule of a centre c and ligands l the centre's interaction site is at X = a r_c + b sum_l r_l with
a + n b = 1; the ligands are their own sites. With energies U_s, forces F_s and flux tensors W_s of the sites,

    u_i = sum_s L_si U_s,   f_i = sum_s L_si F_s,   W_i = sum_s L_si [W_s + (r_i - X_s) F_s],

where L holds the weights a, b and 1. Sharing the energy of a site among the atoms by the weights of its place puts it,
in the mean, exactly where the site is; therefore no further term appears, and the flux tensors W_i are exactly those
of the energies u_i.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from matterscape.checks import check_number
from matterscape.potentials.base import Bound, Evaluation, Potential
from matterscape.potentials.force_constants import ForceConstants
from matterscape.potentials.topology import Molecules
from matterscape.structures import NeighbourLists, Structures, VerletList


@dataclass(frozen=True)
class _SiteMap:
    """Atoms to sites and back, on torch tensors or numpy arrays alike."""

    centres: Any  # (molecules,)
    ligands: Any  # (molecules, n)
    shifts: Any  # (molecules, n, 3) whole cells, floating
    centre_weight: float

    @property
    def _ligand_weight(self) -> float:
        return (1 - self.centre_weight) / self.ligands.shape[1]

    def arms(self, positions: Any, molecule_cells: Any) -> Any:
        """Vectors (molecules, n, 3) from the centres to their ligands."""
        return positions[self.ligands] + self.shifts @ molecule_cells - positions[self.centres][:, None]

    def place(self, positions: Any, arms: Any) -> None:
        """Move the centres in ``positions`` to their sites."""
        positions[self.centres] = positions[self.centres] + self._ligand_weight * arms.sum(1)

    def spread(self, arms: Any, energies: Any, forces: Any, pieces: Any | None) -> None:
        """Turn energies, forces and flux tensors of the sites into those of the atoms, in place."""
        a, b = self.centre_weight, self._ligand_weight
        displacements = b * arms.sum(1)  # from the centre to its site
        on_sites = forces[self.centres]
        if pieces is not None:
            of_sites = pieces[self.centres]
            pieces[self.centres] = a * (of_sites - displacements[:, :, None] * on_sites[:, None, :])
            outer = (arms - displacements[:, None])[:, :, :, None] * on_sites[:, None, None, :]
            pieces[self.ligands] = pieces[self.ligands] + b * (of_sites[:, None] + outer)
        for values in (energies, forces):
            of_sites = values[self.centres]
            values[self.centres] = a * of_sites
            values[self.ligands] = values[self.ligands] + b * of_sites[:, None]


class OnSites(Potential):
    """A potential that acts on sites beside the centres of molecules, such as the charge M of TIP4P water.

    Parameters
    ----------
    molecules : callable
        ``molecules(structures)`` finds the molecules of a batch.
    potential : callable
        ``potential(molecules)`` is the potential felt at the sites; it sees a batch whose centres stand at their sites.
    centre_weight : float
        Weight a of the centre in the place of its site; the ligands share 1 - a equally.
    species : tuple of int, optional
        Atomic numbers that the potential accepts.

    Raises
    ------
    ValueError
        If the weight is not finite.
    """

    def __init__(
        self,
        molecules: Callable[[Structures], Molecules],
        potential: Callable[[Molecules], Potential],
        centre_weight: float,
        species: tuple[int, ...] | None = None,
    ):
        check_number("centre_weight", centre_weight, signed=True)
        self._molecules, self._potential = molecules, potential
        self.centre_weight, self.species = float(centre_weight), species

    def sites(self, structures: Structures) -> Structures:
        """The batch with every centre at its site, differentiable in positions and strain."""
        return self._displaced(structures, self._molecules(structures))[0]

    def _displaced(self, structures: Structures, molecules: Molecules) -> tuple[Structures, _SiteMap, torch.Tensor]:
        positions, device = structures.positions, structures.positions.device
        centres = torch.from_numpy(molecules.centres).to(device)
        site_map = _SiteMap(
            centres,
            torch.from_numpy(molecules.ligands).to(device),
            torch.from_numpy(molecules.shifts).to(positions),
            self.centre_weight,
        )
        arms = site_map.arms(positions, structures.cells[structures.structure_index[centres]])
        moved = positions.clone()
        site_map.place(moved, arms)
        # neighbours of the atoms are not those of the sites
        return replace(structures, positions=moved, _topologies={}, _frames=None), site_map, arms

    def check(self, structures: Structures) -> None:
        """See :meth:`matterscape.potentials.base.Potential.check`; also finds the molecules."""
        super().check(structures)
        molecules = self._molecules(structures)
        self._potential(molecules).check(self._displaced(structures, molecules)[0])

    def __call__(self, structures: Structures) -> Evaluation:
        """See :meth:`matterscape.potentials.base.Potential.__call__`."""
        super().check(structures)
        molecules = self._molecules(structures)
        sites, site_map, arms = self._displaced(structures, molecules)
        result = self._potential(molecules)(sites)
        parts = [result.energies.clone(), result.forces.clone(), result.flux_tensors.clone()]
        site_map.spread(arms, *parts)
        return Evaluation(*parts, structures)

    def bind(self, structures: Structures, lists: NeighbourLists) -> Bound:
        """See :meth:`matterscape.potentials.base.Potential.bind`; the bonds found now are kept."""
        molecules = self._molecules(structures)
        site_map = _SiteMap(
            molecules.centres, molecules.ligands, molecules.shifts.astype(np.float64), self.centre_weight
        )
        structure_index = structures.structure_index.cpu().numpy()[molecules.centres]
        sites = self._displaced(structures, molecules)[0]
        return _BoundOnSites(site_map, structure_index, self._potential(molecules), sites, lists)

    def hessian(self, structures: Structures) -> ForceConstants:
        """Second derivatives in the atoms: those in the sites, shared by the weights of both ends."""
        molecules = self._molecules(structures)
        of_sites = self._potential(molecules).hessian(self._displaced(structures, molecules)[0])
        width = 1 + molecules.n_ligands
        members = np.repeat(np.arange(structures.n_atoms)[:, None], width, axis=1)  # atoms that hold a site
        weights = np.zeros((structures.n_atoms, width))
        weights[:, 0] = 1.0
        shifts = np.zeros((structures.n_atoms, width, 3), np.int64)
        members[molecules.centres, 1:], shifts[molecules.centres, 1:] = molecules.ligands, molecules.shifts
        weights[molecules.centres] = (1 - self.centre_weight) / molecules.n_ligands
        weights[molecules.centres, 0] = self.centre_weight
        first, second = of_sites.first, of_sites.second
        products = weights[first][:, :, None] * weights[second][:, None, :]
        pair, a, b = np.nonzero(products)
        first, second = first[pair], second[pair]
        return ForceConstants.from_terms(
            members[first, a],
            members[second, b],
            of_sites.shifts[pair] + shifts[second, b] - shifts[first, a],
            products[pair, a, b][:, None, None] * of_sites.blocks[pair],
            structures,
        )


class _SiteList(VerletList):
    """Neighbours of the sites, kept up to date with positions of the atoms."""

    def __init__(self, place: Callable[[np.ndarray, np.ndarray], np.ndarray], *arguments: Any):
        super().__init__(*arguments)
        self._place = place

    def update(self, positions: np.ndarray, cells: np.ndarray) -> bool:
        return super().update(self._place(positions, cells), cells)


class _SiteLists(NeighbourLists):
    """Requests for neighbours of the sites, entered among the lists of the atoms under names of their own."""

    def __init__(
        self,
        sites: Structures,
        lists: NeighbourLists,
        place: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ):
        super().__init__(sites, lists.skin)
        self._of_atoms, self._place = lists, place

    def request(self, cutoff: float, *, half: bool) -> VerletList:
        key = (float(cutoff), half)
        if key not in self._lists:
            self._lists[key] = _SiteList(self._place, self.structures, cutoff, self.skin, half)
            self._of_atoms._lists["sites", id(self), *key] = self._lists[key]
        return self._lists[key]


class _BoundOnSites(Bound):
    def __init__(
        self,
        site_map: _SiteMap,
        structure_index: np.ndarray,
        potential: Potential,
        sites: Structures,
        lists: NeighbourLists,
    ):
        self._map, self._structure_index = site_map, structure_index
        self._bound = potential.bind(sites, _SiteLists(sites, lists, lambda x, cells: self._sites(x, cells)[0]))

    def _sites(self, positions: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        arms = self._map.arms(positions, cells[self._structure_index])
        moved = positions.copy()
        self._map.place(moved, arms)
        return moved, arms

    def add(self, positions, cells, energies, forces, pieces):
        sites, arms = self._sites(positions, cells)
        own = [np.zeros_like(energies), np.zeros_like(forces), None if pieces is None else np.zeros_like(pieces)]
        self._bound.add(sites, cells, *own)
        self._map.spread(arms, *own)
        for total, part in zip((energies, forces, pieces), own):
            if part is not None:
                total += part
