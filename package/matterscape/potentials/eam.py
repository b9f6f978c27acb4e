"""Embedded-atom potentials of metals and alloys: energies, tables for LAMMPS and from it, exchange of two atoms.

    U_i = F_a(sum_j f_b(r_ij)) + 1/2 sum_j phi_ab(r_ij)

for an atom i of species a and its neighbours j of species b. Source: M. S. Daw, M. I. Baskes, Phys. Rev. B 29, 6443
(1984); the alloy form and the setfl file are those of LAMMPS' ``eam/alloy``.
"""

from dataclasses import dataclass
from os import PathLike
from typing import Self

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols

from matterscape.checks import check_number
from matterscape.potentials import _eam_kernels as kernels
from matterscape.potentials._eam_loops import accumulate
from matterscape.potentials._stars import EAM_SETFL, EAM_SQUARED
from matterscape.potentials.local import local_operator
from matterscape.potentials.setfl import Setfl, cubic_hermite
from matterscape.potentials.star import StarPotential
from matterscape.structures import Structures, extended_pairs


def energies(
    vectors: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    types: torch.Tensor,
    n_centres: int,
    parameters: torch.Tensor,
    tables: torch.Tensor,
    kind: int,
) -> torch.Tensor:
    """Energy of each centre from directed pairs, in vectorised torch.

    Parameters
    ----------
    vectors : tensor (P, 3)
        From the centre to the neighbour in Å.
    first, second : tensor (P,)
        Extended atoms at the two ends.
    types : tensor (M,)
        Of the extended atoms.
    n_centres : int
    parameters, tables : tensor (R, K) and (T, n, c)
        See :mod:`matterscape.potentials._eam_kernels`.
    kind : int
        ``EAM_SQUARED`` or ``EAM_SETFL``.

    Returns
    -------
    tensor (n_centres,)
        In eV.
    """
    n_species = int(parameters[0, kernels.HEADER_SPECIES])
    pairs = types[first] * n_species + types[second]
    squares = (vectors**2).sum(1)
    inside = squares.detach() < parameters[1 + pairs, 0]
    pairs, first = pairs[inside], first[inside]
    given, halves = pair_terms(squares[inside], pairs, parameters, tables, kind)
    densities = given.new_zeros(n_centres).index_add(0, first, given)
    embedded = embedding_energies(densities, types[:n_centres], parameters, tables, kind)
    return embedded.index_add(0, first, halves)


def pair_terms(
    squares: torch.Tensor, pairs: torch.Tensor, parameters: torch.Tensor, tables: torch.Tensor, kind: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Density given to the centre and half the pair energy (P,) at squared distances (P,) of pairs inside the cut-off.

    ``pairs`` (P,) is the number of the table, centre type * S + neighbour type.
    """
    scale, shift = parameters[0, kernels.HEADER_SCALE], parameters[0, kernels.HEADER_SHIFT]
    if kind == EAM_SETFL:
        r = squares.sqrt()
        density, product = _polynomials(r * scale, pairs, tables)
        return density, product / r
    places = scale * squares + shift
    keys = (places.detach().double().view(torch.int64) >> kernels.KEY_SHIFT).clamp(min=kernels.FIRST_KEY)
    t = places - (keys << kernels.KEY_SHIFT).view(torch.float64).to(places)
    return _horner(t, tables[pairs, keys - kernels.FIRST_KEY])


def embedding_energies(
    densities: torch.Tensor, types: torch.Tensor, parameters: torch.Tensor, tables: torch.Tensor, kind: int
) -> torch.Tensor:
    """Embedding energies (n,) in eV of atoms of the given types (n,) in the given densities (n,)."""
    n_species = int(parameters[0, kernels.HEADER_SPECIES])
    rows = parameters[1 + n_species**2 + types]
    if kind == EAM_SETFL:
        return _polynomials(densities * rows[:, 0], n_species**2 + types, tables)[0]
    pieces = []
    for first, reference in (
        (kernels.EMBEDDING_LOW, kernels.EMBEDDING_LOW_END),
        (kernels.EMBEDDING_MIDDLE, kernels.EMBEDDING_EQUILIBRIUM),
    ):
        x = densities / rows[:, reference] - 1
        c = rows[:, first : first + 4].unbind(1)
        pieces.append(c[0] + x * (c[1] + x * (c[2] + x * c[3])))
    high_start = rows[:, kernels.EMBEDDING_HIGH_START]
    x = torch.maximum(densities, high_start) / rows[:, kernels.EMBEDDING_REFERENCE]
    logarithms = rows[:, kernels.EMBEDDING_EXPONENT] * x.log()
    high = rows[:, kernels.EMBEDDING_SCALE] * (1 - logarithms) * logarithms.exp()
    energies = torch.where(densities < rows[:, kernels.EMBEDDING_LOW_END], pieces[0], pieces[1])
    return torch.where(densities < high_start, energies, high)


def _polynomials(places: torch.Tensor, tables_of: torch.Tensor, tables: torch.Tensor) -> tuple[torch.Tensor, ...]:
    intervals = places.detach().long().clamp(0, tables.shape[1] - 1)
    return _horner(places - intervals, tables[tables_of, intervals])


def _horner(t: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Two polynomials (P,) whose coefficients alternate in the rows (P, 2 * (degree + 1))."""
    coefficients = rows.reshape(len(rows), -1, 2)
    values = coefficients[:, -1]
    for k in range(coefficients.shape[1] - 2, -1, -1):
        values = values * t[:, None] + coefficients[:, k]
    return values.unbind(1)


@dataclass(frozen=True, eq=False)
class Occupation:
    """Atoms at fixed places whose species may be exchanged.

    Attributes
    ----------
    types : ndarray (N,), int64
        Place of each atom's species in the potential's ``species``.
    densities : ndarray (N,), float64
        At each atom.
    offsets, second, squares : ndarray (N + 1,), (P,), (P,)
        Neighbours of each atom inside the cut-off, an image counting as its atom, and squared distances in Å^2.
    changes, touched : ndarray
        Scratch of the kernels.
    """

    types: np.ndarray
    densities: np.ndarray
    offsets: np.ndarray
    second: np.ndarray
    squares: np.ndarray
    changes: np.ndarray
    touched: np.ndarray


class EAM(StarPotential):
    """Embedded-atom potential; made by :func:`matterscape.potentials.zhou_metals.zhou2004` or :meth:`from_setfl`.

    Parameters
    ----------
    species : tuple of int
        Atomic numbers.
    cutoff : float
        In Å.
    parameters, tables : tensor (R, K) and (T, n, c), float64
        See :mod:`matterscape.potentials._eam_kernels`.
    kind : int
        ``EAM_SQUARED`` or ``EAM_SETFL``.
    """

    operator = local_operator("eam", energies=energies, accumulate=accumulate, half=False)
    accumulate = staticmethod(accumulate)

    @classmethod
    def from_setfl(cls, path: str | PathLike) -> Self:
        """Read a setfl file (``*.eam.alloy``) with the splines that LAMMPS makes of it.

        Beyond the last distance of the file the functions are constant; beyond its last density the embedding energy
        is a straight line.

        Parameters
        ----------
        path : path
            DYNAMO setfl format: three comment lines; number of elements and their symbols; N_rho, d_rho, N_r, d_r,
            cutoff; for each element a line with atomic number, mass, lattice constant and lattice, N_rho embedding
            energies (eV), N_r densities; then N_r products r phi (eV Å) for each pair of elements (i >= j).

        Returns
        -------
        EAM

        Raises
        ------
        ValueError
            If the file is no such file.
        """
        file = Setfl.read(path)
        n_species = len(file.symbols)
        n_rows = max(file.densities.shape[1], file.embedding.shape[1])
        tables = np.zeros((n_species**2 + n_species, n_rows, 8))
        pairs = tables[: n_species**2].reshape(n_species, n_species, n_rows, 8)
        pairs[..., 0::2] = cubic_hermite(file.densities, n_rows)
        pairs[..., 1::2] = cubic_hermite(0.5 * file.products, n_rows)
        tables[n_species**2 :, :, 0::2] = cubic_hermite(file.embedding, n_rows, straight_end=True)
        parameters = np.zeros((1 + n_species**2 + n_species, 3))
        parameters[0, kernels.HEADER_SPECIES] = n_species
        parameters[0, kernels.HEADER_SCALE] = 1 / file.step
        parameters[1 : 1 + n_species**2, 0] = file.cutoff**2
        parameters[1 + n_species**2 :, 0] = 1 / file.density_step
        return cls(
            species=tuple(atomic_numbers[symbol] for symbol in file.symbols),
            cutoff=file.cutoff,
            parameters=torch.from_numpy(parameters),
            tables=torch.from_numpy(tables),
            kind=EAM_SETFL,
        )

    def to_setfl(
        self,
        path: str | PathLike,
        *,
        n_distances: int = 4000,
        n_densities: int = 6000,
        max_density: float | None = None,
    ) -> None:
        """Write a setfl file (``*.eam.alloy``) for LAMMPS' pair style ``eam/alloy`` and other codes.

        Parameters
        ----------
        path : path
        n_distances, n_densities : int
            Points of the tables. What a reader's splines lose falls with the fourth power of these numbers, but for
            densities at the joints of the analytic embedding energy, where it falls with the second.
        max_density : float, optional
            End of the embedding tables; four times the largest equilibrium density of the elements unless given.

        Raises
        ------
        ValueError
            If a table has less than 5 points or ``max_density`` is not positive, or not given for a potential that was
            read from a file.
        """
        if min(n_distances, n_densities) < 5:
            raise ValueError(f"n_distances is {n_distances} and n_densities {n_densities}; accepted is 5 or more")
        if max_density is None and self.kind == EAM_SQUARED:
            max_density = 4 * float(self.parameters[-len(self.species) :, kernels.EMBEDDING_EQUILIBRIUM].max())
        check_number("max_density", max_density, positive=True)
        symbols = self.symbols
        step, density_step = self.cutoff / (n_distances - 1), max_density / (n_densities - 1)
        r = step * np.arange(n_distances)
        # r phi vanishes at r = 0, which the functions themselves need not accept
        safe = np.maximum(r, 1e-3 * step)
        rho = density_step * np.arange(n_densities)
        Setfl(
            symbols,
            np.stack([self.embedding_energy(symbol, rho) for symbol in symbols]),
            np.stack([self.density(symbol, safe) for symbol in symbols]),
            np.stack([[r * self.pair_energy(a, b, safe) for b in symbols] for a in symbols]),
            density_step,
            step,
            self.cutoff,
        ).write(path, f"embedded-atom potential of {' '.join(symbols)}")

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols of the species."""
        return tuple(chemical_symbols[number] for number in self.species)

    def density(self, symbol: str, distances: np.ndarray) -> np.ndarray:
        """Density (n,) that an atom of an element gives to a neighbour at distances (n,) in Å."""
        return self._pair_functions(symbol, symbol, distances)[0]

    def pair_energy(self, first: str, second: str, distances: np.ndarray) -> np.ndarray:
        """Pair energies phi (n,) in eV of two elements at distances (n,) in Å."""
        return 2 * self._pair_functions(first, second, distances)[1]

    def embedding_energy(self, symbol: str, densities: np.ndarray) -> np.ndarray:
        """Embedding energies F (n,) in eV of an element in the given densities (n,)."""
        densities = torch.as_tensor(densities, dtype=torch.float64)
        types = torch.full(densities.shape, self._type(symbol))
        return embedding_energies(densities, types, self.parameters, self.tables, self.kind).numpy()

    def _pair_functions(self, centre: str, neighbour: str, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distances = torch.as_tensor(distances, dtype=torch.float64)
        inside = distances < self.cutoff
        pairs = torch.full((int(inside.sum()),), self._type(centre) * len(self.species) + self._type(neighbour))
        values = np.zeros((2, len(distances)))
        values[:, inside] = torch.stack(
            pair_terms(distances[inside] ** 2, pairs, self.parameters, self.tables, self.kind)
        ).numpy()
        return values[0], values[1]

    def _type(self, symbol: str) -> int:
        if symbol not in self.symbols:
            raise ValueError(f"element {symbol!r} has no parameters; accepted are {', '.join(self.symbols)}")
        return self.symbols.index(symbol)

    def occupation(self, structures: Structures) -> Occupation:
        """Densities and neighbours of atoms whose species are to be exchanged at fixed places.

        Parameters
        ----------
        structures : Structures

        Raises
        ------
        ValueError
            If a species has no parameters.
        """
        self.check(structures)
        structures = structures.to(dtype=torch.float64, device="cpu")
        pairs = extended_pairs(structures, self.cutoff)
        points = pairs.positions(structures).detach()
        types = self.types(structures.species)
        first = torch.repeat_interleave(torch.arange(structures.n_atoms), pairs.offsets.diff())
        neighbours = pairs.owners[pairs.second.long()]
        squares = ((points[pairs.second.long()] - points[first]) ** 2).sum(1)
        inside = squares < self.cutoff**2
        first, neighbours, squares = first[inside], neighbours[inside], squares[inside]
        tables = types[first] * len(self.species) + types[neighbours]
        given, _ = pair_terms(squares, tables, self.parameters, self.tables, self.kind)
        counts = torch.bincount(first, minlength=structures.n_atoms)
        return Occupation(
            types=types.clone().numpy(),
            densities=torch.zeros(structures.n_atoms, dtype=torch.float64).index_add(0, first, given).numpy(),
            offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]).numpy(),
            second=neighbours.numpy(),
            squares=squares.numpy(),
            changes=np.zeros(structures.n_atoms),
            touched=np.zeros(2 + 2 * int(counts.max()), np.int64),
        )

    def swap_delta(self, occupation: Occupation, i: int, j: int) -> float:
        """Energy change in eV if atoms ``i`` and ``j`` exchanged their species, from their neighbours alone.

        Parameters
        ----------
        occupation : Occupation
            From :meth:`occupation`; not changed.
        i, j : int

        Returns
        -------
        float
        """
        o = occupation
        self._check_atoms(o, i, j)
        return kernels.swap_delta(
            self._layout,
            i,
            j,
            o.types,
            o.densities,
            o.offsets,
            o.second,
            o.squares,
            *self._arrays,
            o.changes,
            o.touched,
        )

    def swap(self, occupation: Occupation, i: int, j: int) -> None:
        """Exchange the species of atoms ``i`` and ``j``; brings ``occupation`` up to date."""
        o = occupation
        self._check_atoms(o, i, j)
        kernels.swap(self._layout, i, j, o.types, o.densities, o.offsets, o.second, o.squares, *self._arrays)

    @property
    def _layout(self) -> tuple[int, ...]:
        return (0,) if self.kind == EAM_SETFL else ()

    @property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return self.parameters.numpy(), self.tables.numpy()

    @staticmethod
    def _check_atoms(occupation: Occupation, i: int, j: int) -> None:
        n_atoms = len(occupation.types)
        for atom in (i, j):
            if not 0 <= atom < n_atoms:
                raise ValueError(f"atom {atom} is not among the {n_atoms} atoms; accepted is 0 to {n_atoms - 1}")
