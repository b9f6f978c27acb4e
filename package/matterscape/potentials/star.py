"""Star potentials: U = sum_i U_i(r_ij, j neighbour of i), with exact second and third derivatives."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from matterscape.checks import check_number
from matterscape.kernels import get_threads, launch
from matterscape.potentials._star_derivative_kernels import find_stars, star_hessians, star_third_derivatives
from matterscape.potentials._star_kernels import accumulate
from matterscape.potentials._star_reference import energies
from matterscape.potentials.force_constants import ForceConstants
from matterscape.potentials.local import LocalPotential, local_operator
from matterscape.potentials.third_order import StarBlocks, ThirdOrder
from matterscape.structures import Structures, extended_pairs

# blocks of stars that a Hessian holds at a time, about 200 bytes each with their bookkeeping
MAX_TERMS = 1_000_000

#: One torch operator for all star potentials, see :func:`matterscape.potentials.local.local_operator`.
star_operator = local_operator("star", energies=energies, accumulate=accumulate, half=False)


class StarPotential(LocalPotential):
    """A potential whose atomic energies depend on the vectors to the neighbours within a cutoff.

    Subclasses supply parameters in the layout of :mod:`matterscape.potentials._stars`; see there for how to add a
    functional form. In float32 energies are right to 2e-6 and forces to 2e-5 of the largest.
    """

    operator = star_operator
    accumulate = staticmethod(accumulate)
    half = False

    def hessian(self, structures: Structures) -> ForceConstants:
        """Second derivatives of the energy by complex step, exact to rounding.

        Parameters
        ----------
        structures : Structures
            Any cell: images of an atom are pairs of their own.

        Returns
        -------
        ForceConstants
            In float64, whatever the dtype of the positions.

        Raises
        ------
        ValueError
            If a species has no parameters.

        Source: W. Squire and G. Trapp, SIAM Review 40, 110 (1998).
        """
        stars = Stars(self, structures)
        total = None
        for start, stop in stars.portions(MAX_TERMS):
            blocks = StarBlocks(stars.offsets, stars.atoms, stars.shifts, start, stop)
            terms = np.empty((blocks.offsets[-1], 3, 3))
            with launch():
                star_hessians(*stars.arguments, start, blocks.offsets, terms)
            part = blocks.collect(terms, structures)
            total = part if total is None else total + part
        return total

    def third_order(self, structures: Structures, step: float = 1e-5) -> ThirdOrder:
        """Third derivatives of the energy by central differences of complex-step second derivatives.

        Parameters
        ----------
        structures : Structures
        step : float
            Displacement h in Å. The error falls as h^2 down to about h = 1e-5, where rounding takes over: in silicon
            entries that should be equal differ by 3e-9 of 10 eV/Å^3 at 1e-5 Å, by 3e-7 at 1e-4 Å.

        Returns
        -------
        ThirdOrder

        Raises
        ------
        ValueError
            If a species has no parameters, or the step is not a positive, finite number.
        """
        check_number("step", step, "Å", positive=True)
        stars = Stars(self, structures)
        sizes = 3 * np.diff(stars.offsets)
        value_offsets = np.concatenate([[0], np.cumsum(sizes * (sizes + 1) * (sizes + 2) // 6)])
        values = np.empty(value_offsets[-1])
        with launch():
            asymmetry = star_third_derivatives(*stars.arguments, float(step), value_offsets, values)
        return ThirdOrder(stars.offsets, stars.atoms, stars.shifts, value_offsets, values, structures, float(asymmetry))


class Stars:
    """The stars of all atoms and the arguments that the kernels of their derivatives share."""

    def __init__(self, potential: StarPotential, structures: Structures):
        potential.check(structures)
        pairs = extended_pairs(structures, potential.cutoff)
        owners, shifts = pairs.owners.cpu().numpy(), pairs.shifts.cpu().numpy()
        positions = pairs.positions(structures).detach().cpu().double().numpy()
        types = potential.types(structures.species).cpu().numpy()[owners]
        second, ends = pairs.second.cpu().numpy(), pairs.offsets.cpu().numpy()
        parameters, tables = (t.detach().cpu().double().numpy() for t in (potential.parameters, potential.tables))
        self.offsets, neighbours = np.empty(len(ends), np.int64), np.empty(len(second), np.int64)
        find_stars(positions, types, second, ends, parameters, self.offsets, neighbours)
        neighbours = neighbours[: self.offsets[-1]]
        centres = np.repeat(np.arange(structures.n_atoms), np.diff(self.offsets))
        self.atoms, self.shifts = owners[neighbours], shifts[neighbours] - shifts[centres]
        self.arguments = (
            positions,
            types,
            self.offsets,
            neighbours,
            parameters,
            tables,
            potential.kind,
            4 * get_threads(),
        )

    def portions(self, max_terms: int) -> Iterator[tuple[int, int]]:
        """Ranges of centres whose stars have at most ``max_terms`` blocks together, or of one centre."""
        ends = np.cumsum((np.diff(self.offsets) + 1) ** 2)
        start = 0
        while start < len(ends):
            done = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, done + max_terms, side="right")))
            yield start, stop
            start = stop


def element_of(name: str) -> str:
    """Chemical symbol of a name in a LAMMPS file, which may carry a label: Si(D) is Si."""
    return name.split("(")[0]


def pack_parameters(pair: np.ndarray, triplet: np.ndarray) -> torch.Tensor:
    """Parameters (R, K) in the layout of :mod:`matterscape.potentials._stars`.

    Parameters
    ----------
    pair : ndarray (S, S, K_pair)
        By centre and neighbour; the first column is the squared cut-off.
    triplet : ndarray (S, S, S, K_triplet)
        By centre, neighbour and other neighbour.
    """
    n_species = len(pair)
    packed = np.zeros((1 + n_species**2 + n_species**3, max(pair.shape[-1], triplet.shape[-1])))
    packed[0, 0] = n_species
    packed[1 : 1 + n_species**2, : pair.shape[-1]] = pair.reshape(n_species**2, -1)
    packed[1 + n_species**2 :, : triplet.shape[-1]] = triplet.reshape(n_species**3, -1)
    return torch.from_numpy(packed)


def check_table(
    table: np.ndarray, n_species: int, columns: Sequence[str], positive: Sequence[str], positive_bonds: Sequence[str]
) -> np.ndarray:
    """A table (S, S, S, len(columns)) of finite numbers.

    Columns ``positive`` are positive everywhere, columns ``positive_bonds`` in the entries (i, j, j), which hold what
    belongs to the bond between i and j.

    Raises
    ------
    ValueError
        Naming the entry.
    """
    try:
        table = np.array(table, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"table is {table!r}; accepted are numbers") from None
    shape = (n_species,) * 3 + (len(columns),)
    if table.shape != shape:
        raise ValueError(f"table has shape {table.shape}; accepted is {shape} with columns {', '.join(columns)}")
    if not np.isfinite(table).all():
        place = tuple(np.argwhere(~np.isfinite(table))[0].tolist())
        raise ValueError(f"table{list(place)} is {table[place]}; accepted are finite numbers")
    for place in np.ndindex(table.shape[:3]):
        for column, name in enumerate(columns):
            required = name in positive or (name in positive_bonds and place[1] == place[2])
            if required and not table[place][column] > 0:
                raise ValueError(f"{name} of table{list(place)} is {table[place][column]}; it must be positive")
    return table


def read_lammps_table(path: str | Path, names: Sequence[str], n_columns: int, n_ignored: int = 0) -> np.ndarray:
    """Table (S, S, S, n_columns) of triplets from a LAMMPS potential file.

    Parameters
    ----------
    path : str or Path
        Entries of three names and ``n_columns + n_ignored`` numbers, over any number of lines, ``#`` starts a comment.
    names : sequence of str
        The names to pick, in the order of the types.

    Raises
    ------
    ValueError
        If the file is not of this form, or an entry is missing.
    """
    names = list(names)
    words = [word for line in Path(path).read_text().splitlines() for word in line.split("#")[0].split()]
    length = 3 + n_columns + n_ignored
    if not words or len(words) % length:
        raise ValueError(f"path {path} has {len(words)} words; accepted are entries of {length} words each")
    table = np.full((len(names),) * 3 + (n_columns,), np.nan)
    for start in range(0, len(words), length):
        entry = words[start : start + length]
        if all(name in names for name in entry[:3]):
            try:
                table[tuple(names.index(name) for name in entry[:3])] = [float(w) for w in entry[3 : 3 + n_columns]]
            except ValueError:
                raise ValueError(f"path {path}: entry {' '.join(entry)} holds something that is not a number") from None
    missing = np.argwhere(np.isnan(table).any(axis=-1))
    if len(missing):
        triplet = " ".join(names[t] for t in missing[0])
        raise ValueError(f"path {path} has no entry {triplet}; all triplets of {', '.join(names)} are needed")
    return table
