"""Potentials with a finite cutoff: numba loops over neighbour lists behind one torch operator per family."""

from collections.abc import Callable
from typing import ClassVar

import numba
import numpy as np
import torch
from ase.data import chemical_symbols

from matterscape.kernels import Operator
from matterscape.potentials.base import Bound, Evaluation, Potential
from matterscape.structures import NeighbourLists, Structures, VerletList, extended_pairs

Accumulate = Callable[..., int]
Energies = Callable[..., torch.Tensor]


class TooClose(ValueError):
    """Two atoms are closer than a potential allows; ``pair`` is the index of the pair in the list."""

    def __init__(self, pair: int):
        super().__init__(f"pair {pair} is closer than the potential allows")
        self.pair = pair


def local_operator(name: str, *, energies: Energies, accumulate: Accumulate, half: bool) -> Operator:
    """One torch operator for a family of potentials with a finite cutoff.

    The operator maps ``(positions, weights, types, second, offsets, parameters, tables, kind)`` to the energies (M,),
    the gradient (M, 3) and the flux tensors (M, 3, 3) on M extended atoms, where the last two belong to the sum of
    the energies times ``weights`` (an empty tensor stands for ones). It is differentiable any number of times in
    positions, weights, parameters and tables: its first derivative in the positions is itself with other weights,
    all others go through the torch reference.

    Parameters
    ----------
    name : str
        Name inside the ``matterscape`` namespace of torch operators.
    energies : callable
        ``energies(vectors, first, second, types, n_centres, parameters, tables, kind)``: torch energies (n_centres,) of
        the atoms from directed pairs, every pair in both orders.
    accumulate : callable
        ``accumulate(positions, weights, types, second, offsets, parameters, tables, kind, with_pieces, energies,
        gradient, pieces)``: numba loops over the pairs p of the centres i, offsets[i] <= p < offsets[i + 1], with the
        neighbour second[p]; lists reach beyond the cutoff, so that farther pairs have to be passed over. They add to
        the last three arrays: energies U_i without weights; the gradient of sum_i w_i U_i; and, only if
        ``with_pieces``, the flux tensors -(r_j - r_i)^a (w_i dU_i/dr_j)^b to those of j. They return the index of a
        pair that is closer than the potential allows, or -1.
    half : bool
        Do ``second`` and ``offsets`` hold each pair once?
    """

    def reference(
        positions: torch.Tensor,
        weights: torch.Tensor,
        types: torch.Tensor,
        second: torch.Tensor,
        offsets: torch.Tensor,
        parameters: torch.Tensor,
        tables: torch.Tensor,
        kind: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        n_extended, n_centres = len(positions), len(offsets) - 1
        first = torch.repeat_interleave(torch.arange(n_centres, device=offsets.device), offsets.diff())
        second = second.long()
        if half:
            first, second, n_centres = torch.cat([first, second]), torch.cat([second, first]), n_extended
        differentiable = any(t.requires_grad for t in (positions, weights, parameters, tables))
        with torch.enable_grad():
            vectors = positions[second] - positions[first]
            if not vectors.requires_grad:
                vectors.requires_grad_()
            # without a pair the sum below would depend on nothing
            values = energies(vectors, first, second, types, n_centres, parameters, tables, kind) + 0 * vectors.sum()
            weighted = values if len(weights) == 0 else weights[:n_centres] * values
            (slopes,) = torch.autograd.grad(weighted.sum(), vectors, create_graph=differentiable)
            gradient = torch.zeros_like(positions).index_add(0, second, slopes).index_add(0, first, -slopes)
            pieces = positions.new_zeros(n_extended, 3, 3)
            pieces = pieces.index_add(0, second, -vectors[:, :, None] * slopes[:, None, :])
            values = torch.cat([values, values.new_zeros(n_extended - n_centres)])
        return (values, gradient, pieces) if differentiable else (values.detach(), gradient, pieces.detach())

    def body(positions, weights, types, second, offsets, parameters, tables, kind):
        n_extended = len(positions)
        results = (
            np.zeros(n_extended, positions.dtype),
            np.zeros((n_extended, 3), positions.dtype),
            np.zeros((n_extended, 3, 3), positions.dtype),
        )
        pair = accumulate(positions, weights, types, second, offsets, parameters, tables, kind, True, *results)
        if pair >= 0:
            raise TooClose(pair)
        return results

    def fake(positions, *_):
        n_extended = positions.shape[0]
        shapes = ((n_extended,), (n_extended, 3), (n_extended, 3, 3))
        return tuple(positions.new_empty(shape) for shape in shapes)

    def derivative(inputs, gradients):
        positions, _, types, second, offsets, parameters, tables, kind = inputs
        on_energies, on_gradient, on_pieces = gradients
        results = [None] * 8
        if on_energies is None and on_gradient is None and on_pieces is None:
            return results
        fitted = parameters.requires_grad or tables.requires_grad
        if on_energies is not None and not fitted:
            results[0] = operator(positions, on_energies.contiguous(), *inputs[2:])[1]
        if fitted or on_gradient is not None or on_pieces is not None:
            with torch.enable_grad():
                # views: the gradients may depend on the same tensors, and that path is not this operator's
                leaves = {i: inputs[i].view_as(inputs[i]) for i in (0, 1, 5, 6)}
                outputs = reference(leaves[0], leaves[1], types, second, offsets, leaves[5], leaves[6], kind)
                chosen = gradients if fitted else (None, on_gradient, on_pieces)
                product = sum((out * grad).sum() for out, grad in zip(outputs, chosen) if grad is not None)
                wanted = [i for i, leaf in leaves.items() if leaf.requires_grad]
                further = any(g is not None and g.requires_grad for g in gradients) or torch.is_grad_enabled()
                parts = torch.autograd.grad(
                    product, [leaves[i] for i in wanted], create_graph=further, allow_unused=True
                )
            for i, part in zip(wanted, parts):
                if part is not None:
                    results[i] = part if results[i] is None else results[i] + part
        return results

    operator = Operator(name, reference=reference, body=body, fake=fake, derivative=derivative, fill_missing=False)
    return operator


class LocalPotential(Potential):
    """A potential whose atoms feel neighbours up to a cutoff.

    Subclasses of a family share ``operator``, ``accumulate`` and ``half`` (see :func:`local_operator`) and differ in
    their parameters.

    Parameters
    ----------
    species : tuple of int
        Atomic numbers; an atom's type is its species' place in this tuple.
    cutoff : float
        In Å.
    parameters : tensor (R, K), float64
    tables : tensor (T, n, c), float64, optional
    kind : int
        Functional form within the family.
    """

    operator: ClassVar[Operator]
    accumulate: ClassVar[Accumulate]
    half: ClassVar[bool]

    def __init__(
        self,
        *,
        species: tuple[int, ...],
        cutoff: float,
        parameters: torch.Tensor,
        tables: torch.Tensor | None = None,
        kind: int = 0,
    ):
        self.species = tuple(species)
        self.cutoff = float(cutoff)
        self.parameters = parameters
        self.tables = parameters.new_zeros(0, 0, 0) if tables is None else tables
        self.kind = kind

    def types(self, species: torch.Tensor) -> torch.Tensor:
        """Types (n,) of atoms with the given atomic numbers (n,)."""
        lookup = torch.full((len(chemical_symbols),), -1, device=species.device)
        lookup[list(self.species)] = torch.arange(len(self.species), device=species.device)
        return lookup[species]

    def __call__(self, structures: Structures) -> Evaluation:
        self.check(structures)
        pairs = extended_pairs(structures, self.cutoff, half=self.half)
        positions = pairs.positions(structures)
        types = self.types(structures.species)[pairs.owners]
        parameters, tables = self.parameters.to(positions), self.tables.to(positions)
        try:
            energies, gradient, pieces = self.operator(
                positions, positions.new_zeros(0), types, pairs.second, pairs.offsets, parameters, tables, self.kind
            )
        except TooClose as error:
            raise _too_close(
                self, structures, positions.detach().numpy(), pairs.owners, pairs.second, pairs.offsets, error.pair
            ) from None
        folded = [
            part.new_zeros(structures.n_atoms, *part.shape[1:]).index_add(0, pairs.owners, part)
            for part in (energies, gradient, pieces)
        ]
        return Evaluation(folded[0], -folded[1], folded[2], structures)

    def bind(self, structures: Structures, lists: NeighbourLists) -> Bound:
        """See :meth:`Potential.bind`."""
        return _BoundLocal(self, structures, lists.request(self.cutoff, half=self.half))


class _BoundLocal(Bound):
    def __init__(self, potential: LocalPotential, structures: Structures, verlet: VerletList):
        self.potential, self.structures, self.list = potential, structures, verlet
        self._types = potential.types(structures.species).cpu().numpy()
        self._arrays = [
            np.ascontiguousarray(t.detach().cpu().double()) for t in (potential.parameters, potential.tables)
        ]
        self._no_weights = np.zeros(0)
        self._searched = -1

    def add(self, positions, cells, energies, forces, pieces):
        verlet = self.list
        if verlet.n_rebuilds != self._searched:
            self._searched = verlet.n_rebuilds
            self._extended_types = self._types[verlet.owners]
            n_extended = len(verlet.owners)
            self._energies, self._gradient = np.empty(n_extended), np.empty((n_extended, 3))
            self._pieces = np.empty((0, 3, 3))
        if pieces is not None and len(self._pieces) != len(self._energies):
            self._pieces = np.empty((len(self._energies), 3, 3))
        used = self._pieces if pieces is not None else self._pieces[:0]
        for array in (self._energies, self._gradient, used):
            array.fill(0.0)
        pair = self.potential.accumulate(
            verlet.extended,
            self._no_weights,
            self._extended_types,
            verlet.second,
            verlet.offsets,
            *self._arrays,
            self.potential.kind,
            pieces is not None,
            self._energies,
            self._gradient,
            used,
        )
        if pair >= 0:
            raise _too_close(
                self.potential, self.structures, verlet.extended, verlet.owners, verlet.second, verlet.offsets, pair
            )
        fold(verlet.owners, self._energies, self._gradient, used, energies, forces, pieces if len(used) else used)


@numba.njit(nogil=True, cache=True)
def fold(owners, extended_energies, extended_gradient, extended_pieces, energies, forces, pieces):
    """Add what the images got to their owners; the gradient turns into forces."""
    for k in range(len(owners)):
        i = owners[k]
        energies[i] += extended_energies[k]
        for a in range(3):
            forces[i, a] -= extended_gradient[k, a]
    for k in range(len(extended_pieces)):
        i = owners[k]
        for a in range(3):
            for b in range(3):
                pieces[i, a, b] += extended_pieces[k, a, b]


def _too_close(potential, structures, extended, owners, second, offsets, pair) -> ValueError:
    """The sentence for two atoms that came too close, with places within their structure."""
    i = int(np.searchsorted(np.asarray(offsets), pair, side="right")) - 1
    k = int(second[pair])
    j = int(owners[k])
    distance = float(np.linalg.norm(np.asarray(extended[k]) - np.asarray(extended[i])))
    structure = int(structures.structure_index[i])
    start = int(structures.offsets[structure])
    names = [f"{chemical_symbols[int(structures.species[atom])]} (atom {atom - start})" for atom in (i, j)]
    return ValueError(
        f"{names[0]} and {names[1]} of structure {structure} are {distance:.3f} Å apart, closer than {potential} allows"
    )
