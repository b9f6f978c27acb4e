"""Van Hove functions: where an atom is after a time, and where the others are, seen from where it was."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from matterscape.checks import check_number, check_whole, real_array
from matterscape.progress import progress
from matterscape.transport._van_hove_kernels import count_displacements, count_pairs
from matterscape.transport.trajectories import UnwrappedTrajectory


@dataclass(frozen=True, eq=False)
class VanHove:
    """Self and distinct parts of the van Hove function at several times.

    Attributes
    ----------
    distances : array (n_bins,)
        Middle of each bin in Å.
    lags_ps : array (n_lags,)
    self_part : dict of str to array (n_lags, n_bins)
        Probability density G_s(r, t) that an atom of the species is at a distance r from where it was, in 1/Å^3: its
        integral over space, 4 pi r^2 dr, is one.
    beyond : dict of str to array (n_lags,)
        Share of the atoms that moved farther than the bins reach.
    distinct_part : dict of (str, str) to array (n_lags, n_bins)
        G_d(r, t) V / N_b: density of other atoms b around where an a atom was, in units of their mean density. It is
        g_ab(r) at no lag and tends to 1 - 1/N_a for a = b, and to one for others.
    non_gaussian : dict of str to array (n_lags,)
        alpha_2(t) = 3 <dr^4> / (5 <dr^2>^2) - 1 of each species, zero for a Gaussian walk; zero at no lag.
    """

    distances: np.ndarray
    lags_ps: np.ndarray
    self_part: dict[str, np.ndarray]
    beyond: dict[str, np.ndarray]
    distinct_part: dict[tuple[str, str], np.ndarray]
    non_gaussian: dict[str, np.ndarray]

    def radial_density(self, element: str) -> np.ndarray:
        """4 pi r^2 G_s(r, t) of a species in 1/Å, (n_lags, n_bins), the usual plot of hops."""
        if element not in self.self_part:
            raise ValueError(f"there is no species {element!r}; accepted are {', '.join(self.self_part)}")
        return self.self_part[element] * _shells(self.distances) / (self.distances[1] - self.distances[0])


def van_hove_functions(
    trajectory: UnwrappedTrajectory,
    lags_ps: Sequence[float],
    maximum_distance: float | None = None,
    n_bins: int = 100,
    *,
    n_origins: int = 200,
) -> VanHove:
    """Self and distinct parts of the van Hove function, and the non-Gaussian parameter.

        G_s(r, t) = 1/N sum_i <delta(r - |r_i(t) - r_i(0)|)> / (4 pi r^2)
        G_d(r, t) = 1/N_a sum_i sum_{j != i} <delta(r - |r_j(t) - r_i(0)|)> / (4 pi r^2)

    The self part counts true displacements, the distinct part distances to the nearest image.

    Parameters
    ----------
    trajectory : UnwrappedTrajectory
    lags_ps : sequence of float
        Times t in ps, rounded to rows; zero gives the radial distribution functions.
    maximum_distance : float, optional
        In Å, at most half the smallest height of the cell, which is also the default.
    n_bins : int
    n_origins : int
        Time origins, spread evenly over those there are.

    Raises
    ------
    ValueError
        If a lag is as long as the trajectory, the distance beyond half the cell, a position not finite, or the
        trajectory wrapped.

    Source: L. Van Hove, Phys. Rev. 95, 249 (1954); A. Rahman, Phys. Rev. 136, A405 (1964), for alpha_2.
    """
    times = np.atleast_1d(real_array("lags_ps", lags_ps))
    lags = np.rint(times * 1e3 / trajectory.timestep_fs)
    if times.ndim != 1 or not len(times) or not ((lags >= 0) & (lags < trajectory.n_times)).all():
        raise ValueError(f"lags_ps are {times.tolist()}; accepted are times from 0 to {trajectory.duration_ps:g} ps")
    heights = trajectory.volume / np.linalg.norm(
        np.cross(trajectory.cell[[1, 2, 0]], trajectory.cell[[2, 0, 1]]), axis=1
    )
    longest = heights.min() / 2
    maximum_distance = longest if maximum_distance is None else maximum_distance
    check_number("maximum_distance", maximum_distance, "Å", positive=True)
    if maximum_distance > longest * (1 + 1e-9):
        raise ValueError(
            f"maximum_distance is {maximum_distance:g} Å; accepted is at most half the smallest height of the cell, "
            f"{longest:.4g} Å"
        )
    check_whole("n_bins", n_bins, 2)
    check_whole("n_origins", n_origins, 1)
    trajectory.check()
    positions, labels = trajectory.positions, trajectory.labels
    elements = trajectory.elements
    n_species, n_lags, scale = len(elements), len(lags), n_bins / maximum_distance
    inverse = np.linalg.inv(trajectory.cell)
    moved = np.zeros((n_lags, n_species, n_bins), np.int64)
    moments = np.zeros((n_lags, n_species, 2))
    paired = np.zeros((n_lags, n_species, n_species, n_bins), np.int64)
    used = np.empty(n_lags)
    for number, lag in enumerate(progress(lags.astype(int), "van Hove functions")):
        possible = trajectory.n_times - lag
        origins = np.unique(np.linspace(0, possible - 1, min(n_origins, possible)).astype(np.int64))
        used[number] = len(origins)
        count_displacements(positions, labels, origins, lag, scale, moved[number], moments[number])
        count_pairs(positions, labels, origins, lag, trajectory.cell, inverse, scale, paired[number])
    counts = np.bincount(labels)
    edges = np.linspace(0, maximum_distance, n_bins + 1)
    distances = (edges[1:] + edges[:-1]) / 2
    shells = _shells(distances)
    atoms = used[:, None] * counts  # (n_lags, S)
    square, fourth = (moments / atoms[..., None]).transpose(2, 0, 1)
    gaussian = 5.0 / 3.0 * square**2
    alpha = np.divide(fourth, gaussian, out=np.ones_like(fourth), where=gaussian > 0) - 1.0
    density = counts / trajectory.volume
    return VanHove(
        distances,
        lags * trajectory.timestep_fs * 1e-3,
        {one: moved[:, s] / (atoms[:, s, None] * shells) for s, one in enumerate(elements)},
        {one: 1.0 - moved[:, s].sum(axis=1) / atoms[:, s] for s, one in enumerate(elements)},
        {
            (one, other): paired[:, a, b] / (atoms[:, a, None] * density[b] * shells)
            for a, one in enumerate(elements)
            for b, other in enumerate(elements)
        },
        {one: alpha[:, s] for s, one in enumerate(elements)},
    )


def _shells(distances: np.ndarray) -> np.ndarray:
    """Volume of the spherical shell of each bin in Å^3."""
    width = distances[1] - distances[0]
    return 4 / 3 * np.pi * ((distances + width / 2) ** 3 - (distances - width / 2) ** 3)
