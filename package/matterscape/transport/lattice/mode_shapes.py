"""How the atoms move in a vibrational mode, in as many repeats of its cell as show the wave."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from matterscape.checks import check_whole
from matterscape.transport.lattice.constants import ANGULAR
from matterscape.transport.lattice.modes import VibrationalModes
from matterscape.transport.lattice.supercells import Supercell

#: Atoms up to which repeats are chosen.
MAX_ATOMS = 2000
#: Wavevectors are taken as fractions of reciprocal vectors with denominators up to this.
LARGEST_DENOMINATOR = 12
# Imaginary part of a displacement, relative to the largest, below which a wave stands.
STANDING = 1e-9


class ModeShapes:
    """Displacements of the atoms in the modes of a cell.

    In the mode with eigenvector e and wavevector k, atom i in the cell that is R away moves by the real part of
    u exp(-i omega t), u = e_i / sqrt(M_i) exp(i k.(r_i + R)): the phase convention of
    :class:`~matterscape.transport.lattice.modes.VibrationalModes`.

    Parameters
    ----------
    modes : VibrationalModes
    repeats : three ints, optional
        Cells along each cell vector. By default so many that the waves are periodic in them, or as many as
        ``max_atoms`` leaves room for.
    max_atoms : int
        Applies to the default only.

    Attributes
    ----------
    repeats : tuple of int (3,)
    atoms : ase.Atoms
        At rest, in the order of ASE's ``repeat``.
    points : ndarray (M, 2), int64
        Wavevector and mode of all but the translations: wavevector by wavevector, frequencies ascending.

    Raises
    ------
    TypeError
        If ``modes`` are none.
    ValueError
        If the repeats are no three whole numbers.
    """

    def __init__(self, modes: VibrationalModes, repeats: Sequence[int] | None = None, *, max_atoms: int = MAX_ATOMS):
        if not isinstance(modes, VibrationalModes):
            raise TypeError(f"modes is a {type(modes).__name__}; accepted are VibrationalModes")
        check_whole("max_atoms", max_atoms, 1)
        self.modes = modes
        if repeats is None:
            repeats = _fitting_repeats(modes.wavevectors, max(1, max_atoms // len(modes.masses)))
        self._supercell = Supercell.repeated(modes.structures, repeats)
        self.repeats = self._supercell.repeats
        self.atoms = self._supercell.structures.to_ase()[0]
        self.points = np.argwhere(modes.vibrating)

    def displacements(self, wavevector: int, mode: int) -> np.ndarray:
        """Pattern u (n_atoms, 3) of one mode, of any scale: real where the wave stands, complex where it runs.

        Its phase is the one whose real part is largest.
        """
        self._check(wavevector, mode)
        which = self._supercell.atoms
        vector = self.modes.eigenvectors[wavevector][:, mode].reshape(-1, 3)[which]
        pattern = vector / np.sqrt(self.modes.masses[which])[:, None]
        if self.modes.wavevectors[wavevector].any():
            reciprocal = ANGULAR * np.linalg.solve(
                self._supercell.primitive.to_ase()[0].cell.array, self.modes.wavevectors[wavevector]
            )
            pattern = pattern * np.exp(1j * self.atoms.positions @ reciprocal)[:, None]
        if np.isrealobj(pattern):
            return pattern
        pattern = pattern * np.exp(-0.5j * np.angle((pattern**2).sum()))
        return pattern.real if np.abs(pattern.imag).max() < STANDING * np.abs(pattern).max() else pattern

    def shares(self, wavevector: int, mode: int) -> np.ndarray:
        """Share |e_i|^2 (n_atoms,) of each atom in the energy of a mode; those of one cell sum to one."""
        self._check(wavevector, mode)
        squares = np.abs(self.modes.eigenvectors[wavevector][:, mode]) ** 2
        return squares.reshape(-1, 3).sum(axis=1)[self._supercell.atoms]

    def element_shares(self, wavevector: int, mode: int) -> dict[str, float]:
        """Share of each element in the energy of a mode; they sum to one."""
        shares = self.shares(wavevector, mode) / self._supercell.n_cells
        symbols = np.array(self.atoms.get_chemical_symbols())
        return {name: float(shares[symbols == name].sum()) for name in dict.fromkeys(symbols.tolist())}

    def columns(self, properties: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """One number (or text) for each of ``points``, from arrays that hold one for each mode.

        Parameters
        ----------
        properties : dict of str to array_like
            Of shape (Q, 3 n) as the frequencies, (3 n,) where there is one wavevector, or one value for each point.

        Returns
        -------
        dict of str to ndarray (M,)

        Raises
        ------
        ValueError
            If an array has another shape.
        """
        table, found = self.modes.angular_frequencies.shape, {}
        for name, given in properties.items():
            values = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
            if values.shape == table or (table[0] == 1 and values.shape == table[1:]):
                values = values.reshape(table)[tuple(self.points.T)]
            elif values.shape != (len(self.points),):
                raise ValueError(
                    f"properties[{name!r}] has shape {values.shape}; accepted are {table}, one value for each mode, or "
                    f"({len(self.points)},), one for each but the translations"
                )
            found[str(name)] = values
        return found

    def _check(self, wavevector: int, mode: int) -> None:
        for name, index, size in zip(("wavevector", "mode"), (wavevector, mode), self.modes.angular_frequencies.shape):
            check_whole(name, index, 0)
            if index >= size:
                raise ValueError(f"{name} is {index}; accepted are 0 to {size - 1}")


def _fitting_repeats(wavevectors: np.ndarray, most: int) -> tuple[int, int, int]:
    """Cells in which all waves are periodic; at most so many, taken from the longest side."""
    repeats = [
        math.lcm(*(Fraction(float(k)).limit_denominator(LARGEST_DENOMINATOR).denominator for k in set(column)))
        for column in wavevectors.T
    ]
    while math.prod(repeats) > most:
        repeats[int(np.argmax(repeats))] -= 1
    return tuple(repeats)
