"""Three-phonon scattering of a crystal at the wavevectors of a mesh that need not be that of a supercell.

    FWHM_1 = (pi hbar / 4 Q) sum_23 |Psi_123|^2 / (omega_1 omega_2 omega_3)
             {(1 + N_2 + N_3) delta(omega_1 - omega_2 - omega_3) / 2 + (N_2 - N_3) delta(omega_1 + omega_2 - omega_3)}

over ordered pairs of modes whose wavevectors fulfil q_1 + q_2 + q_3 = G. The linearised Boltzmann equation also needs
where phonons go. With s = sqrt(N (N + 1)), numbers of phonons N - s y.grad T obey

    hbar omega_1 s_1 / (k_B T^2) v_1 = FWHM_1 y_1 + sum_2 A_12 y_2,
    A_12 = (pi hbar / 4 Q) sum_3 |Psi_123|^2 / (omega_1 omega_2 omega_3) s_3 {delta(omega_1 - omega_2 - omega_3)
           + delta(omega_1 + omega_2 - omega_3) + delta(omega_1 - omega_2 + omega_3)},

symmetric for one broadening of all processes. Classical: N = k_B T / hbar omega, s = N, and no "1 +".

Source: A. A. Maradudin and A. E. Fein, Phys. Rev. 128, 2589 (1962); L. Chaput, Phys. Rev. Lett. 110, 265506 (2013).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from matterscape.checks import check_number
from matterscape.kernels import get_threads, launch, memory_limit
from matterscape.potentials.force_constants import group_pairs
from matterscape.progress import progress
from matterscape.transport.lattice.constants import ANGULAR, REDUCED_PLANCK, SQUARED_FREQUENCY
from matterscape.transport.lattice.crystals._scattering_kernels import add_processes, sum_thirds
from matterscape.transport.lattice.crystals.meshes import SymmetricMesh, check_symmetric, symmetric_mesh
from matterscape.transport.lattice.linewidths import SHAPES
from matterscape.transport.lattice.modes import VibrationalModes
from matterscape.transport.lattice.occupations import occupations
from matterscape.transport.lattice.qhgk import DEGENERATE_THZ
from matterscape.transport.lattice.triplets import TripletForceConstants

#: Bytes of the sums over third atoms that are kept at a time.
BLOCK_BYTES = 32_000_000


@dataclass(frozen=True, eq=False)
class ThreePhononScattering:
    """Rates at which the phonons of a mesh decay and join.

    Attributes
    ----------
    modes : VibrationalModes
        On a mesh of Q wavevectors.
    mesh : SymmetricMesh
        Its I irreducible wavevectors.
    temperatures_K : ndarray (T,)
    statistics : str
    half_widths : ndarray (T, Q, 3 n), float64
        Half widths at half maximum in rad/ps; those of degenerate modes their mean, those of translations zero.
    collision_matrix : ndarray (T, I, 3 n, I, 3 n, 3, 3) or None
        What the matrix A does to a vector of each irreducible mode, such as its mean free displacement, in rad/ps:
        the images of the second mode are summed with their rotations.
    """

    modes: VibrationalModes
    mesh: SymmetricMesh
    temperatures_K: np.ndarray
    statistics: str
    half_widths: np.ndarray
    collision_matrix: np.ndarray | None


def three_phonon_scattering(
    modes: VibrationalModes,
    triplets: TripletForceConstants,
    temperatures_K: Sequence[float] | float,
    *,
    broadening_THz: float | None = None,
    shape: str = "gauss",
    statistics: str = "quantum",
    symmetry: bool = True,
    collisions: bool = False,
) -> ThreePhononScattering:
    """Widths of all phonons of a mesh, and on demand the collision matrix of the Boltzmann equation.

    Parameters
    ----------
    modes : VibrationalModes
        Of the primitive cell on any mesh.
    triplets : TripletForceConstants
        Of the same cell.
    temperatures_K : float or sequence of T floats
    broadening_THz : float, optional
        Width s / 2 pi of the peak that stands for the delta function; phono3py's sigma is s / (2 pi sqrt(2)) of the
        Gaussian. If not given, every process has its own, from the velocities of the two phonons that vary:
        s^2 = <sum_k (dv.b_k / n_k)^2> / 6, a mean over the rotations of the crystal.
    shape : "gauss", "triangle" or "lorentz"
        As in :func:`~matterscape.transport.lattice.linewidths.linewidths`.
    statistics : "quantum" or "classical"
    symmetry : bool
        Whether to use the rotations of the crystal.
    collisions : bool
        Whether to keep the collision matrix, 72 (3 n I)^2 bytes for every temperature.

    Raises
    ------
    UnstableModesError
        If a mode does not vibrate.
    ValueError
        If modes and force constants belong to different cells, the force constants lack the structure's symmetry, the
        collision matrix does not fit into memory, or another argument is none of those accepted.

    Source: of the adaptive broadening W. Li et al., Comput. Phys. Commun. 185, 1747 (2014), eq. 24; J. R. Yates et al.,
    Phys. Rev. B 75, 195121 (2007).
    """
    modes.check_stable()
    _check_triplets(modes, triplets)
    if broadening_THz is not None:
        check_number("broadening_THz", broadening_THz, "THz", positive=True)
    if shape not in SHAPES:
        raise ValueError(f"shape is {shape!r}; accepted are {', '.join(map(repr, SHAPES))}")
    temperatures = np.atleast_1d(np.asarray(temperatures_K, dtype=np.float64))
    mesh = symmetric_mesh(modes.structures, modes.mesh, masses=modes.masses, symmetry=symmetry)
    check_symmetric(mesh, modes.angular_frequencies)
    vibrating = modes.vibrating
    omega = np.where(vibrating, modes.angular_frequencies, np.inf)
    quanta, amplitudes = np.zeros((len(temperatures), *omega.shape)), np.zeros((len(temperatures), *omega.shape))
    for row, temperature in enumerate(temperatures.tolist()):
        found = occupations(omega[vibrating], temperature, statistics)
        quanta[row][vibrating] = found
        amplitudes[row][vibrating] = found if statistics == "classical" else np.sqrt(found * (found + 1))
    n_irreducible, n_modes = len(mesh.irreducible), omega.shape[1]
    n_bytes = 72 * len(temperatures) * (n_irreducible * n_modes) ** 2
    if collisions and n_bytes > 0.25 * memory_limit():
        raise ValueError(
            f"the collision matrix would take {n_bytes / 1e9:.1f} GB of {memory_limit() / 1e9:.1f} GB; use a coarser "
            "mesh or fewer temperatures"
        )
    widths = np.zeros((len(temperatures), n_irreducible, n_modes))
    matrix = np.zeros((len(temperatures) * collisions, n_irreducible, n_modes, n_irreducible, n_modes, 3, 3))
    velocities = mesh.expand_vectors(mean_velocities(modes, mesh)) if broadening_THz is None else np.zeros((1, 1, 3))
    sums = _TripletSums(modes, triplets)
    pair_weights = mesh.pair_weights()
    places = np.flatnonzero(pair_weights.any(axis=0))
    n_blocks = max(1, -(-len(places) * sums.bytes_per_wavevector // BLOCK_BYTES))
    steps = np.stack(np.unravel_index(np.arange(mesh.n_wavevectors), mesh.mesh))
    sizes = np.array(mesh.mesh)[:, None, None]
    for thirds in progress(np.array_split(places, n_blocks), "Three-phonon processes"):
        seconds = -steps[:, mesh.irreducible, None] - steps[:, None, thirds]
        with launch(None if add_processes.signatures else "three-phonon processes"):
            add_processes(
                mesh.irreducible,
                np.ravel_multi_index(tuple(seconds % sizes), mesh.mesh),
                thirds,
                np.ascontiguousarray(pair_weights[:, thirds]),
                sums.second_phases,
                sums.pair_shifts,
                sums.first,
                sums.second,
                sums.over_thirds(thirds),
                sums.vectors,
                omega,
                np.pi * REDUCED_PLANCK / 4 * SQUARED_FREQUENCY**2 / mesh.n_wavevectors,
                quanta,
                amplitudes,
                float(statistics == "quantum"),
                0.0 if broadening_THz is None else ANGULAR * broadening_THz,
                SHAPES[shape],
                velocities,
                _mean_steps(modes, symmetric_mesh(modes.structures, modes.mesh, masses=modes.masses)),
                mesh.representatives,
                mesh.rotations[mesh.operations],
                min(n_irreducible, 8 * get_threads()),
                widths,
                matrix,
            )
    means = degenerate_averages(modes.angular_frequencies[mesh.irreducible])
    widths = np.einsum("imn,tin->tim", means, widths)
    if collisions:
        for own in matrix:
            own[:] = np.einsum("iab,imn,injlbc->imjlac", mesh.projectors, means, own, optimize=True)
            own[:] = np.einsum("imjlac,jlk,jcd->imjkad", own, means, mesh.projectors, optimize=True)
    return ThreePhononScattering(
        modes,
        mesh,
        temperatures,
        statistics,
        0.5 * mesh.expand(widths, axis=1),
        matrix if collisions else None,
    )


def degenerate_averages(angular_frequencies: np.ndarray) -> np.ndarray:
    """Matrices (Q, M, M) that replace numbers of modes by their mean over modes of the same frequency, (Q, M)."""
    steps = np.diff(angular_frequencies, axis=1) > ANGULAR * DEGENERATE_THZ
    sets = np.concatenate([np.zeros((len(steps), 1), int), np.cumsum(steps, axis=1)], axis=1)
    equal = (sets[:, :, None] == sets[:, None, :]).astype(float)
    return equal / equal.sum(axis=2, keepdims=True)


def lattice_vectors(modes: VibrationalModes) -> np.ndarray:
    """Eigenvectors (Q, 3 n modes, 3 n), complex128, with phases of cells, so that reciprocal vectors change nothing."""
    fractions = modes.structures.to_ase()[0].get_scaled_positions(wrap=False)
    phases = np.repeat(np.exp(2j * np.pi * modes.wavevectors @ fractions.T), 3, axis=1)
    return np.ascontiguousarray((modes.eigenvectors * phases[:, :, None]).swapaxes(1, 2))


def _mean_steps(modes: VibrationalModes, mesh: SymmetricMesh) -> np.ndarray:
    """Vectors L_k (3, 3), rows in 1/Å, with sum_k L_k L_k = the mean of sum_k (b_k / n_k)(b_k / n_k) over rotations.

    The three steps of a mesh alone lack the symmetry of most crystals, which widths would then lack too.
    """
    steps = ANGULAR * np.linalg.inv(modes.structures.to_ase()[0].cell.array).T / np.array(mesh.mesh)[:, None]
    turned = np.einsum("gab,kb->gka", mesh.rotations, steps)
    return np.linalg.cholesky(np.einsum("gka,gkb->ab", turned, turned) / len(turned)).T


def mean_velocities(modes: VibrationalModes, mesh: SymmetricMesh) -> np.ndarray:
    """Group velocities (I, 3 n, 3) in Å/ps at the irreducible wavevectors, degenerate modes given their mean."""
    return _velocities(modes, mesh)[0]


def velocity_tensors(modes: VibrationalModes, mesh: SymmetricMesh) -> np.ndarray:
    """Products v v (I, 3 n, 3, 3) in (Å/ps)^2 at the irreducible wavevectors.

    sum_m Re v_nm v_nm* over the modes m of the frequency of n, the mean over the degenerate n: what no choice of
    eigenvectors changes, and no projection on axes either.
    """
    return _velocities(modes, mesh)[1]


def _velocities(modes: VibrationalModes, mesh: SymmetricMesh) -> tuple[np.ndarray, np.ndarray]:
    means = degenerate_averages(modes.angular_frequencies[mesh.irreducible])
    shape = (len(mesh.irreducible), modes.angular_frequencies.shape[1])
    vectors, tensors = np.zeros((*shape, 3)), np.zeros((*shape, 3, 3))
    real = np.isrealobj(modes.eigenvectors)
    for row, place in enumerate(mesh.irreducible):
        operator = modes.velocity_operator(int(place))
        equal = means[row] > 0
        if not real:
            vectors[row] = means[row] @ np.einsum("ann->na", operator).real
        tensors[row] = np.einsum("nm,anm,bnm->nab", equal, operator, operator.conj(), optimize=True).real
        tensors[row] = np.einsum("nm,mab->nab", means[row], tensors[row])
    return vectors, tensors


class _TripletSums:
    """Sums of triplets over third atoms, and what is left to be summed over pairs."""

    def __init__(self, modes: VibrationalModes, triplets: TripletForceConstants):
        order, starts = group_pairs(
            triplets.first, triplets.second, triplets.second_shifts, triplets.structures.n_atoms
        )
        leaders = order[starts[:-1]]
        self.first, self.second, self._starts = triplets.first[leaders], triplets.second[leaders], starts
        steps = np.round(modes.wavevectors * modes.mesh).astype(np.int64)

        def phases(shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            unique, which = np.unique(shifts, axis=0, return_inverse=True)
            return np.exp(2j * np.pi * (steps / modes.mesh) @ unique.T), which.reshape(-1)

        self.second_phases, self.pair_shifts = phases(triplets.second_shifts[leaders])
        self._third_phases, self._third_shifts = phases(triplets.third_shifts[order])
        self._third = triplets.third[order]
        self._blocks = np.ascontiguousarray(triplets.blocks[order])
        self.vectors = lattice_vectors(modes) / np.repeat(np.sqrt(modes.masses), 3)

    @property
    def bytes_per_wavevector(self) -> int:
        return 16 * 9 * len(self.first) * self.vectors.shape[1]

    def over_thirds(self, places: np.ndarray) -> np.ndarray:
        """Sums (B, P, 9, 3 n) for B places of the third wavevector."""
        summed = np.empty((len(places), len(self.first), 9, self.vectors.shape[1]), np.complex128)
        with launch(None if sum_thirds.signatures else "three-phonon processes"):
            sum_thirds(
                places,
                self._third_phases,
                self._third_shifts,
                self._third,
                self._blocks,
                self._starts,
                self.vectors,
                summed,
            )
        return summed


def _check_triplets(modes: VibrationalModes, triplets: TripletForceConstants) -> None:
    if not isinstance(triplets, TripletForceConstants):
        raise TypeError(
            f"triplets is a {type(triplets).__name__}; accepted are TripletForceConstants, which their methods "
            "from_stars and from_supercell make"
        )
    if triplets.structures.n_atoms != modes.structures.n_atoms:
        raise ValueError(
            f"triplets belong to {triplets.structures.n_atoms} atoms; accepted are those of the cell of the modes, of "
            f"{modes.structures.n_atoms}"
        )
    difference = float((triplets.structures.cells - modes.structures.cells).abs().max())
    if difference > 1e-3:
        raise ValueError(
            f"triplets belong to a cell whose vectors differ by {difference:.2g} Å from those of the modes; accepted "
            "are those of the same cell"
        )
