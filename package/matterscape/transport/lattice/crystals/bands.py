"""Bands of a crystal's phonons along a path through its Brillouin zone."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase.dft.kpoints import BandPath
from scipy.optimize import linear_sum_assignment

from matterscape.checks import check_whole
from matterscape.potentials.force_constants import ForceConstants
from matterscape.transport.lattice.constants import ANGULAR
from matterscape.transport.lattice.crystals.dispersion import Dispersion, dispersion
from matterscape.transport.lattice.supercells import check_force_constants


@dataclass(frozen=True, eq=False)
class Bands:
    """Phonons along a path.

    Attributes
    ----------
    phonons : Dispersion
        At the K wavevectors of the path; degenerate modes are told apart by their slopes along it.
    path : ase.dft.kpoints.BandPath
    distances : ndarray (K,)
        Length of the path up to each wavevector in rad/Å; jumps have no length.
    ticks : ndarray (L,)
        Distances of the special points.
    labels : tuple of str
        Their names, "G" for Gamma; two at a jump, "U,K".
    segments : ndarray (K,), int64
        Number of the piece of the path without a jump.
    """

    phonons: Dispersion
    path: BandPath
    distances: np.ndarray
    ticks: np.ndarray
    labels: tuple[str, ...]
    segments: np.ndarray

    @property
    def frequencies_THz(self) -> np.ndarray:
        """Frequencies (K, 3 n) in THz, ascending at each wavevector."""
        return self.phonons.frequencies_THz

    @cached_property
    def longitudinal(self) -> np.ndarray:
        """Longitudinal character (K, 3 n), sum_s |e_s . k|^2 / k^2: 1 for motion along the wavevector, 0 across it.

        At Gamma, along the path.
        """
        waves = self.phonons.cartesian_wavevectors.copy()
        centre = np.linalg.norm(waves, axis=1) < 1e-9
        waves[centre] = _tangents(self.phonons.cartesian_wavevectors, self.segments)[centre]
        units = waves / np.linalg.norm(waves, axis=1)[:, None]
        n_points, size = self.frequencies_THz.shape
        vectors = self.phonons.eigenvectors.reshape(n_points, size // 3, 3, size)
        return (np.abs(np.einsum("kx,ksxm->ksm", units, vectors)) ** 2).sum(axis=1)

    @cached_property
    def branches(self) -> np.ndarray:
        """Modes (K, 3 n), int64, that each branch passes through: its place in the ascending order at each wavevector.

        Along a piece of the path eigenvectors are followed to the next wavevector by their overlaps, through crossings.
        """
        order = np.empty(self.frequencies_THz.shape, np.int64)
        vectors = self.phonons.eigenvectors
        for k in range(len(order)):
            if k == 0 or self.segments[k] != self.segments[k - 1]:
                order[k] = np.arange(order.shape[1])
            else:
                overlaps = np.abs(vectors[k - 1].conj().T @ vectors[k]) ** 2
                order[k] = linear_sum_assignment(-overlaps)[1][order[k - 1]]
        return order


def bands(
    force_constants: ForceConstants,
    path: str | None = None,
    *,
    n_points: int = 200,
    masses: np.ndarray | None = None,
) -> Bands:
    """Phonons along a path between special points.

    Parameters
    ----------
    force_constants : ForceConstants
        Of one periodic cell, resolved by image.
    path : str, optional
        Special points as of ASE's ``cell.bandpath``, such as "GXWKGL,UX"; that of the Bravais lattice if not given.
    n_points : int
        About how many wavevectors.
    masses : ndarray (n,), optional
        In amu; those of the structure if not given.

    Raises
    ------
    ValueError
        If the path names a point that the lattice does not have, or another argument is none of those accepted.

    Source: of the points W. Setyawan and S. Curtarolo, Comput. Mater. Sci. 49, 299 (2010).
    """
    check_force_constants(force_constants)
    check_whole("n_points", n_points, 2)
    cell = force_constants.structures.to_ase()[0].cell
    try:
        found = cell.bandpath(path, npoints=int(n_points))
    except (KeyError, ValueError) as error:
        points = ", ".join(sorted(cell.bandpath(npoints=0).special_points))
        raise ValueError(
            f"path is {path!r}; accepted are the special points {points}, jumps marked by commas"
        ) from error
    distances, ticks, labels = found.get_linear_kpoint_axis()
    segments = np.concatenate([[0], np.cumsum(np.diff(distances) <= 0)]).astype(np.int64)
    waves = ANGULAR * found.cartesian_kpts()
    phonons = dispersion(force_constants, found.kpts, masses=masses, directions=_tangents(waves, segments))
    merged, names = _merged(ticks, labels)
    return Bands(phonons, found, distances, merged, names, segments)


def _tangents(waves: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Directions (K, 3) of the path: to the next point, or from the last one at the end of a piece."""
    steps = np.diff(waves, axis=0)
    inside = segments[1:] == segments[:-1]
    forward = np.append(inside, False)
    tangents = np.zeros(waves.shape)
    tangents[forward] = steps[inside]
    last = np.flatnonzero(~forward)
    tangents[last] = waves[last] - waves[np.maximum(last - 1, 0)]
    lengths = np.linalg.norm(tangents, axis=1)
    tangents[lengths == 0] = [1.0, 2.0, 3.0]
    return tangents / np.linalg.norm(tangents, axis=1)[:, None]


def _merged(ticks: np.ndarray, labels: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Ticks and labels with those at one place, on the two sides of a jump, joined by a comma."""
    names: list[str] = []
    places: list[float] = []
    for tick, label in zip(ticks.tolist(), labels, strict=True):
        if places and abs(tick - places[-1]) < 1e-9:
            names[-1] = f"{names[-1]},{label}"
        else:
            places.append(tick)
            names.append(label)
    return np.array(places), tuple(names)
