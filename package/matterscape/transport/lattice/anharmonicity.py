"""How much of the forces in a hot solid its harmonic force constants explain."""

from dataclasses import dataclass

import numpy as np

from matterscape.checks import real_array
from matterscape.potentials.force_constants import ForceConstants
from matterscape.transport.lattice.supercells import check_force_constants


@dataclass(frozen=True, eq=False)
class Anharmonicity:
    """sigma^A, the root mean square of the anharmonic forces over that of all forces.

    Attributes
    ----------
    value : float
        Of all atoms and frames: 0 in a harmonic solid, of order 1 where the harmonic forces explain nothing.
    per_frame : ndarray (S,)
    per_atom : ndarray (N,)
    per_species : dict of str to float
        By chemical symbol.
    """

    value: float
    per_frame: np.ndarray
    per_atom: np.ndarray
    per_species: dict[str, float]


def sigma_anharmonic(positions: np.ndarray, forces: np.ndarray, force_constants: ForceConstants) -> Anharmonicity:
    """sigma^A = rms(F - F_harmonic) / rms(F) of frames of a simulation.

    Parameters
    ----------
    positions : ndarray (S, N, 3)
        In Å, in the cell of the force constants, wrapped or not; displacements are taken to the nearest image. An atom
        that has left its site counts as displaced by the whole way.
    forces : ndarray (S, N, 3)
        In eV/Å.
    force_constants : ForceConstants
        Of the N atoms at rest, in the same order. They should obey the acoustic sum rule: a drift of the whole crystal
        is not taken out.

    Raises
    ------
    ValueError
        If the shapes do not agree, a number is not finite, or all forces of an atom vanish.

    Source: F. Knoop, T. A. R. Purcell, M. Scheffler and C. Carbogno, Phys. Rev. Materials 4, 083809 (2020), eq. 6.
    """
    check_force_constants(force_constants)
    reference = force_constants.structures.to_ase()[0]
    positions, forces = real_array("positions", positions), real_array("forces", forces)
    for name, array in (("positions", positions), ("forces", forces)):
        if (
            array.ndim != 3
            or array.shape[1:] != (len(reference), 3)
            or array.shape != positions.shape
            or not len(array)
        ):
            raise ValueError(
                f"{name} have shape {array.shape}; accepted is (n_frames, {len(reference)}, 3), alike for both"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{name} hold {array[~np.isfinite(array)][0]}; accepted are finite numbers")
    steps = np.linalg.solve(reference.cell.T, (positions - reference.positions).reshape(-1, 3).T).T
    displacements = ((steps - np.round(steps)) @ reference.cell.array).reshape(len(positions), -1)
    harmonic = -(force_constants.to_bsr() @ displacements.T).T.reshape(forces.shape)
    anharmonic_squares, squares = ((forces - harmonic) ** 2).sum(axis=2), (forces**2).sum(axis=2)
    if not squares.sum(axis=0).all() or not squares.sum(axis=1).all():
        raise ValueError("forces on an atom, or in a frame, are all zero; accepted are those of a simulation")
    symbols = np.array(reference.get_chemical_symbols())

    def ratio(chosen: np.ndarray | slice = slice(None)) -> float:
        return float(np.sqrt(anharmonic_squares[:, chosen].sum() / squares[:, chosen].sum()))

    return Anharmonicity(
        value=ratio(),
        per_frame=np.sqrt(anharmonic_squares.sum(axis=1) / squares.sum(axis=1)),
        per_atom=np.sqrt(anharmonic_squares.sum(axis=0) / squares.sum(axis=0)),
        per_species={str(symbol): ratio(symbols == symbol) for symbol in np.unique(symbols)},
    )
