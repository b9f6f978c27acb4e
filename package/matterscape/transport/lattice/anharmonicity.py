"""How much of the forces in a hot solid its harmonic force constants explain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from matterscape.checks import real_array
from matterscape.potentials.base import Potential, check_potential
from matterscape.potentials.force_constants import ForceConstants
from matterscape.progress import progress
from matterscape.structures import Structures
from matterscape.transport.lattice.minima import relaxed
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
        In Å, in the cell of the force constants, wrapped or not; displacements are taken to the nearest image. For
        atoms that leave their sites see :func:`sigma_about_own_minima`.
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
    return _compared(forces, harmonic, np.array(reference.get_chemical_symbols()))


def sigma_about_own_minima(
    frames: Structures | Sequence[Atoms], potential: Potential, *, force_tolerance: float = 1e-3
) -> Anharmonicity:
    """sigma^A of frames of a solid whose atoms hop or turn, each frame about the minimum of the energy below it.

    About one minimum for all, an atom that has hopped counts as a huge displacement, and sigma^A tells of diffusion
    rather than of vibrations. Minima and their second derivatives are found anew for each frame.

    Parameters
    ----------
    frames : Structures or sequence of ase.Atoms
        S frames of the same N atoms, periodic in three directions.
    potential : Potential
        With second derivatives of its own.
    force_tolerance : float
        In eV/Å, of the relaxations.

    Raises
    ------
    ValueError
        If the frames do not hold the same atoms, a relaxation does not converge, or all forces of an atom vanish.
    """
    check_potential("potential", potential)
    if not isinstance(frames, Structures):
        frames = Structures.from_ase(frames)
    if not bool((frames.atoms_per_structure == frames.atoms_per_structure[0]).all()):
        raise ValueError(f"frames have {frames.atoms_per_structure.tolist()} atoms; accepted are equal numbers")
    species = frames.species.reshape(frames.n_structures, -1)
    if not bool((species == species[0]).all()):
        raise ValueError("frames hold different species; accepted are the same atoms in the same order")
    forces = potential(frames).forces.detach().double().numpy().reshape(frames.n_structures, -1, 3)
    minima = relaxed(frames, potential, force_tolerance)
    moves = (frames.positions - minima.positions).detach().double().numpy().reshape(frames.n_structures, -1)
    harmonic = np.empty_like(forces)
    for row in progress(range(frames.n_structures), "Second derivatives at minima"):
        matrix = potential.hessian(minima[row]).to_bsr()
        harmonic[row] = -(matrix @ moves[row]).reshape(-1, 3)
    return _compared(forces, harmonic, np.array([chemical_symbols[number] for number in species[0].tolist()]))


def _compared(forces: np.ndarray, harmonic: np.ndarray, symbols: np.ndarray) -> Anharmonicity:
    anharmonic_squares, squares = ((forces - harmonic) ** 2).sum(axis=2), (forces**2).sum(axis=2)
    if not squares.sum(axis=0).all() or not squares.sum(axis=1).all():
        raise ValueError("forces on an atom, or in a frame, are all zero; accepted are those of a simulation")

    def ratio(chosen: np.ndarray | slice = slice(None)) -> float:
        return float(np.sqrt(anharmonic_squares[:, chosen].sum() / squares[:, chosen].sum()))

    return Anharmonicity(
        value=ratio(),
        per_frame=np.sqrt(anharmonic_squares.sum(axis=1) / squares.sum(axis=1)),
        per_atom=np.sqrt(anharmonic_squares.sum(axis=0) / squares.sum(axis=0)),
        per_species={str(symbol): ratio(symbols == symbol) for symbol in np.unique(symbols)},
    )
