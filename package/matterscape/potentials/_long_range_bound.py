"""Long-ranged potentials made ready for many steps, and what they share with single evaluations."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from matterscape.kernels import memory_limit
from matterscape.potentials import _boundary
from matterscape.potentials.base import Bound
from matterscape.potentials.ewald import EwaldSum
from matterscape.potentials.ewald_parameters import Parameters
from matterscape.potentials.inverse_power import long_range_at_zero
from matterscape.potentials.particle_mesh import ParticleMesh, from_mean
from matterscape.potentials.screened import screened_sums
from matterscape.structures import NeighbourLists, Structures

if TYPE_CHECKING:
    from matterscape.potentials.long_range import InversePower

BYTES_PER_PAIR = 150  # of a molecule: indices, vectors and what the torch reference makes of them


def self_energies(coefficients: torch.Tensor, alpha: float, exponent: int) -> torch.Tensor:
    """Energy of every source in its own smooth potential, per unit prefactor; numpy or torch."""
    return 0.5 * long_range_at_zero(alpha, exponent) * coefficients**2


def vacuum_accuracy(force_error: float) -> float:
    """How much of the field of a slab may reach its images: the requested error over 100 eV/Å, a strong field."""
    return min(force_error / 100, 1e-3)


def all_pairs(structures: Structures) -> torch.Tensor:
    """All directed pairs (P, 5) of atoms of the same structure, as the real-space operator takes them.

    Raises
    ------
    ValueError
        If they would not fit into memory.
    """
    counts = structures.atoms_per_structure
    n_pairs = int((counts * (counts - 1)).sum())
    if n_pairs * BYTES_PER_PAIR > memory_limit() / 2:
        raise ValueError(
            f"the largest open structure has {int(counts.max())} atoms, which makes {n_pairs:.1e} pairs; more than fit "
            "into half of the memory here are not accepted: use a periodic cell with vacuum"
        )
    others = torch.repeat_interleave(counts - 1, counts)
    first = torch.repeat_interleave(torch.arange(structures.n_atoms, device=counts.device), others)
    place = torch.arange(n_pairs, device=counts.device) - torch.repeat_interleave(others.cumsum(0) - others, others)
    start = structures.offsets[structures.structure_index[first]]
    second = start + place + (place >= first - start).long()
    return torch.cat([torch.stack([first, second], dim=1), first.new_zeros(n_pairs, 3)], dim=1)


class BoundTerms(Bound):
    """Several contributions to the same atoms."""

    def __init__(self, terms: list[Bound]):
        self._terms = terms

    def add(self, positions, cells, energies, forces, pieces):
        """See :meth:`Bound.add`."""
        for term in self._terms:
            term.add(positions, cells, energies, forces, pieces)


class BoundPairs(Bound):
    """The real-space pairs of a long-ranged potential, or all pairs of open structures."""

    def __init__(
        self, potential: "InversePower", structures: Structures, parameters: Parameters, lists: NeighbourLists
    ):
        self._charges = potential.site_coefficients(structures).detach().cpu().double().numpy()
        self._alpha, self._exponent, self._prefactor = parameters.alpha, potential.exponent, potential.prefactor
        self._cutoff = parameters.cutoff
        self._list = None
        if parameters.method == "direct":
            pairs = all_pairs(structures).cpu().numpy()
            self._second = pairs[:, 1].astype(np.int32)
            self._offsets = np.searchsorted(pairs[:, 0], np.arange(structures.n_atoms + 1))
        else:
            self._list = lists.request(parameters.cutoff, half=False)

    def add(self, positions, cells, energies, forces, pieces):
        """See :meth:`Bound.add`."""
        n_atoms = len(positions)
        if self._list is None:
            points, charges, second, offsets = positions, self._charges, self._second, self._offsets
        else:
            points, second, offsets = self._list.extended, self._list.second, self._list.offsets
            charges = self._charges[self._list.owners]
        fields = np.zeros(n_atoms), np.zeros((n_atoms, 3)), np.zeros((0 if pieces is None else n_atoms, 3, 3))
        screened_sums(
            points[:n_atoms], points, charges, second, offsets, self._alpha, self._exponent, self._cutoff, fields[0],
            fields[1], pieces is not None, fields[2],
        )  # fmt: skip
        add_fields(
            self._prefactor, self._charges, fields[0], self._charges[:, None] * fields[1], fields[2], energies, forces,
            pieces,
        )  # fmt: skip


class BoundReciprocal(Bound):
    """Everything but the real-space pairs: waves, self energies and dipole terms."""

    def __init__(self, potential: "InversePower", structures: Structures, parameters: Parameters):
        self._potential, self._parameters = potential, parameters
        self._index, self._pbc = structures.structure_index.cpu(), structures.pbc.cpu()
        self._charges = potential.site_coefficients(structures).detach().cpu().double()
        self._self_energies = self_energies(self._charges, parameters.alpha, potential.exponent).numpy()
        self._sum: EwaldSum | ParticleMesh | None = None
        self._periodic: _boundary.Periodic | None = None
        self._geometry: np.ndarray | None = None

    def add(self, positions, cells, energies, forces, pieces):
        """See :meth:`Bound.add`."""
        if self._parameters.method == "direct":
            return
        self._prepare(positions, cells)
        potential, charges = self._potential, self._charges.numpy()
        on_mesh = self._parameters.method == "mesh"
        sites = self._from_mean(positions) if on_mesh else positions
        fields = self._sum.fields(sites, charges[None], pieces is not None)
        gradient = charges[:, None] * fields[1][0]
        if on_mesh:
            gradient = self._from_mean(gradient)
        add_fields(potential.prefactor, charges, fields[0][0], gradient, fields[2], energies, forces, pieces)
        energies -= potential.prefactor * self._self_energies
        if self._periodic.normals is not None or potential.surface == "vacuum":
            terms = _boundary.dipole_terms(torch.from_numpy(positions), self._charges, self._index, self._periodic)
            energies += potential.prefactor * terms[0].numpy()
            forces -= potential.prefactor * terms[1].numpy()
            if pieces is not None:
                pieces += potential.prefactor * terms[2].numpy()

    def _from_mean(self, vectors: np.ndarray) -> np.ndarray:
        return from_mean(torch.from_numpy(vectors), self._index, len(self._pbc)).numpy()

    def _prepare(self, positions, cells):
        """Waves or mesh for these cells, anew where they have changed; a slab may outgrow its cell."""
        heights = None if self._periodic is None else self._periodic.heights
        periodic = _boundary.periodic_cells(
            torch.from_numpy(positions),
            torch.from_numpy(cells),
            self._pbc,
            self._index,
            vacuum_accuracy(self._potential.force_error),
            heights,
        )
        if self._periodic is not None and torch.equal(periodic.cells, self._periodic.cells):
            return
        if self._geometry is None or periodic.heights is not heights:
            self._geometry = self._parameters.geometry(periodic.cells.numpy())
        kind = EwaldSum if self._parameters.method == "ewald" else ParticleMesh
        own_cells = periodic.cells.numpy().copy()
        self._sum = kind(
            own_cells, self._index.numpy(), self._geometry, self._parameters.alpha, self._potential.exponent
        )
        self._periodic = replace(periodic, cells=torch.from_numpy(own_cells))


def add_fields(prefactor, charges, potential, gradient, tensor, energies, forces, pieces) -> None:
    """Add what sources (N,) get from the fields at their sites to energies, forces and, unless None, flux tensors.

    ``gradient`` (N, 3) is that of the energy, the sources included.
    """
    scaled = prefactor * charges
    energies += 0.5 * scaled * potential
    forces -= prefactor * gradient
    if pieces is not None:
        pieces += 0.5 * scaled[:, None, None] * tensor
