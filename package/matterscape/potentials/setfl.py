"""The DYNAMO setfl file format of embedded-atom tables (``*.eam.alloy``, LAMMPS pair style ``eam/alloy``)."""

import itertools
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np
from ase.data import atomic_masses, atomic_numbers, reference_states


@dataclass(frozen=True, eq=False)
class Setfl:
    """Tables of an embedded-atom potential of S elements, from density and distance 0 on.

    Attributes
    ----------
    symbols : tuple of str
    embedding : ndarray (S, n_densities)
        Embedding energies in eV.
    densities : ndarray (S, n_distances)
        Density that an atom of the element gives to a neighbour.
    products : ndarray (S, S, n_distances)
        Distance times pair energy in eV Å, symmetric in the elements.
    density_step, step, cutoff : float
        The latter two in Å.
    """

    symbols: tuple[str, ...]
    embedding: np.ndarray
    densities: np.ndarray
    products: np.ndarray
    density_step: float
    step: float
    cutoff: float

    @classmethod
    def read(cls, path: str | PathLike) -> Self:
        """Read a file.

        Raises
        ------
        ValueError
            If the file is not of this format.
        """
        try:
            # latin-1 reads any comment
            words = iter(" ".join(Path(path).read_text(encoding="latin-1").splitlines()[3:]).split())
            symbols = tuple(_take(words, int(*_take(words, 1))))
            n_densities, density_step, n_distances, step, cutoff = (
                kind(word) for kind, word in zip((int, float, int, float, float), _take(words, 5))
            )
            unknown = [symbol for symbol in symbols if symbol not in atomic_numbers]
            if unknown or len(set(symbols)) < len(symbols):
                raise ValueError(f"its elements are {' '.join(symbols)}; accepted are chemical symbols, each once")
            if not (min(density_step, step, cutoff) > 0 and min(n_densities, n_distances) >= 5):
                raise ValueError("its steps and its cutoff must be positive and its tables have 5 numbers or more")
            embedding, densities = np.empty((len(symbols), n_densities)), np.empty((len(symbols), n_distances))
            products = np.empty((len(symbols), len(symbols), n_distances))
            for i in range(len(symbols)):
                _take(words, 4)  # atomic number, mass, lattice constant and type are not part of the potential
                embedding[i] = _take(words, n_densities)
                densities[i] = _take(words, n_distances)
            for i in range(len(symbols)):
                for j in range(i + 1):
                    products[i, j] = products[j, i] = _take(words, n_distances)
            if next(words, None) is not None:
                raise ValueError("it goes on after the last table")
            if not all(np.isfinite(table).all() for table in (embedding, densities, products)):
                raise ValueError("a number in its tables is not finite")
        except ValueError as error:
            raise ValueError(f"{path} is not a setfl file as of LAMMPS' eam/alloy: {error}") from None
        return cls(symbols, embedding, densities, products, density_step, step, cutoff)

    def write(self, path: str | PathLike, comment: str) -> None:
        """Write a file, with all digits; ``comment`` is its first line."""
        n_densities, n_distances = self.embedding.shape[1], self.densities.shape[1]
        with Path(path).open("w", encoding="ascii") as file:
            file.write(f"{comment}\nunits: metal (eV, Angstrom)\nwritten by matterscape\n")
            file.write(f"{len(self.symbols)} {' '.join(self.symbols)}\n")
            file.write(f"{n_densities} {self.density_step!r} {n_distances} {self.step!r} {self.cutoff!r}\n")
            for i, symbol in enumerate(self.symbols):
                number = atomic_numbers[symbol]
                lattice = reference_states[number] or {}
                file.write(
                    f"{number} {atomic_masses[number]} {lattice.get('a') or 0} {lattice.get('symmetry', 'none')}\n"
                )
                np.savetxt(file, self.embedding[i], "%.17g")
                np.savetxt(file, self.densities[i], "%.17g")
            for i in range(len(self.symbols)):
                for j in range(i + 1):
                    np.savetxt(file, self.products[i, j], "%.17g")


def cubic_hermite(values: np.ndarray, n_rows: int, *, straight_end: bool = False) -> np.ndarray:
    """Coefficients (..., n_rows, 4) of LAMMPS' cubic splines through uniform tables (..., n).

    The slopes are central differences of five points, of three and two points at the ends. Rows after the last interval
    continue with the last value, or with ``straight_end`` as a straight line. Source: ``PairEAM::interpolate``.
    """
    slopes = np.gradient(values, axis=-1)
    slopes[..., 2:-2] = (values[..., :-4] - values[..., 4:] + 8 * (values[..., 3:-1] - values[..., 1:-3])) / 12
    rise = np.diff(values, axis=-1)
    coefficients = np.zeros((*values.shape[:-1], n_rows, 4))
    n = values.shape[-1] - 1
    coefficients[..., :n, 0], coefficients[..., :n, 1] = values[..., :-1], slopes[..., :-1]
    coefficients[..., :n, 2] = 3 * rise - 2 * slopes[..., :-1] - slopes[..., 1:]
    coefficients[..., :n, 3] = slopes[..., :-1] + slopes[..., 1:] - 2 * rise
    coefficients[..., n:, 0] = values[..., -1:]
    if straight_end:
        coefficients[..., n:, 0] += slopes[..., -1:] * np.arange(n_rows - n)
        coefficients[..., n:, 1] = slopes[..., -1:]
    return coefficients


def _take(words, n: int) -> list[str]:
    taken = list(itertools.islice(words, n))
    if len(taken) < n:
        raise ValueError("it ends early")
    return taken
