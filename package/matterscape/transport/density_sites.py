"""Where mobile ions dwell: their density in the frame of the host, its maxima as sites, and who occupies them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from matterscape.checks import check_fraction, check_number, check_whole, real_array

IMAGES = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


def host_frame(positions: np.ndarray, host: np.ndarray, masses: np.ndarray | None = None) -> np.ndarray:
    """Positions in the frame in which the host does not drift.

    Parameters
    ----------
    positions : array (n_times, n_atoms, 3)
        Unwrapped, in Å.
    host : array (n_host,), integer
        Atoms of the host, such as those of P.
    masses : array (n_host,), optional
        Weights of the host's atoms; equal if not given.

    Returns
    -------
    array (n_times, n_atoms, 3)
        At the first time the same as ``positions``.

    Raises
    ------
    ValueError
        If shapes do not fit or the host is empty.
    """
    positions = _trajectory(positions)
    host = np.asarray(host)
    if host.ndim != 1 or not len(host):
        raise ValueError(f"host has shape {host.shape}; accepted are the indices of at least one atom")
    centres = np.average(positions[:, host], axis=1, weights=masses)
    return positions - (centres - centres[0])[:, None]


@dataclass(frozen=True, eq=False)
class Density:
    """Number density of a species on a grid, averaged over a trajectory.

    Attributes
    ----------
    values : array (n_a, n_b, n_c)
        In 1/Å^3, at fractional coordinates (i + 1/2) / n of the folded cell.
    cell : array (3, 3)
        Cell that the density is folded into, vectors as rows in Å.
    repeats : tuple of int
        How many folded cells make up the whole cell.
    n_ions : int
        Ions in the whole cell.
    """

    values: np.ndarray
    cell: np.ndarray
    repeats: tuple[int, int, int]
    n_ions: int

    @property
    def points(self) -> np.ndarray:
        """Places of the values (n_a, n_b, n_c, 3) in Å."""
        axes = [(np.arange(n) + 0.5) / n for n in self.values.shape]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ self.cell


def ion_density(
    positions: np.ndarray,
    cell: np.ndarray,
    *,
    spacing: float = 0.2,
    smearing: float = 0.4,
    repeats: Sequence[int] = (1, 1, 1),
) -> Density:
    """Density of ions in a periodic cell.

    Parameters
    ----------
    positions : array (n_times, n_ions, 3)
        In Å, wrapped or not, see :func:`host_frame`.
    cell : array (3, 3)
        Cell vectors as rows, constant along the trajectory.
    spacing : float
        Largest distance of grid points along a cell vector, in Å.
    smearing : float
        Every ion is a Gaussian of this width in Å, so that counting noise makes few maxima; 0 for the bare histogram.
        The number of sites depends on it and on the length of a run: compare runs of like length at like smearing.
    repeats : sequence of 3 int
        Fold the cell, which repeats a smaller one so many times, into the smaller one.

    Returns
    -------
    Density

    Raises
    ------
    ValueError
        If a shape does not fit or a number is out of range.
    """
    positions, cell = _trajectory(positions), _cell(cell)
    check_number("spacing", spacing, "Å", positive=True)
    check_number("smearing", smearing, "Å")
    if len(repeats) != 3:
        raise ValueError(f"repeats is {repeats!r}; accepted are three whole numbers")
    for number in repeats:
        check_whole("repeats", number, 1)
    repeats = tuple(int(number) for number in repeats)
    folded = cell / np.array(repeats)[:, None]
    shape = np.ceil(np.linalg.norm(folded, axis=1) / spacing - 1e-9).astype(np.int64)
    fractional = positions.reshape(-1, 3) @ np.linalg.inv(folded)
    indices = np.floor((fractional % 1.0) * shape).astype(np.int64) % shape
    counts = np.bincount(np.ravel_multi_index(indices.T, shape), minlength=shape.prod()).reshape(shape)
    values = counts * (shape.prod() / (len(positions) * np.prod(repeats) * abs(np.linalg.det(folded))))
    if smearing:
        values = _smeared(values, folded, smearing)
    return Density(values, folded, repeats, positions.shape[1])


def _smeared(values: np.ndarray, cell: np.ndarray, width: float) -> np.ndarray:
    """Periodic convolution with a Gaussian, in reciprocal space, where the cell may have any shape."""
    waves = [np.fft.fftfreq(n, 1 / n) for n in values.shape[:2]] + [
        np.fft.rfftfreq(values.shape[2], 1 / values.shape[2])
    ]
    vectors = np.stack(np.meshgrid(*waves, indexing="ij"), axis=-1) @ (2 * np.pi * np.linalg.inv(cell).T)
    damping = np.exp(-0.5 * width**2 * (vectors**2).sum(axis=-1))
    smooth = np.fft.irfftn(np.fft.rfftn(values) * damping, s=values.shape, axes=(0, 1, 2))
    return np.maximum(smooth, 0.0)


@dataclass(frozen=True, eq=False)
class Sites:
    """Sites of mobile ions in a periodic cell.

    Attributes
    ----------
    positions : array (n_sites, 3)
        In Å, in the whole cell.
    densities : array (n_sites,)
        Height of the maximum of each, in 1/Å^3.
    cell : array (3, 3)
        Whole cell, vectors as rows in Å.
    n_ions : int
        Ions in the whole cell.
    """

    positions: np.ndarray
    densities: np.ndarray
    cell: np.ndarray
    n_ions: int

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def availability(self) -> float:
        """Sites per ion."""
        return len(self) / self.n_ions

    def occupied(self, positions: np.ndarray) -> np.ndarray:
        """Nearest site of each ion: the one whose Voronoi cell it is in.

        Parameters
        ----------
        positions : array (..., 3)
            In Å, in the frame that the sites were found in, wrapped or not.

        Returns
        -------
        array (...), int64
        """
        positions = real_array("positions", positions)
        tree = cKDTree(_with_images(self.positions, self.cell))
        inside = (positions @ np.linalg.inv(self.cell)) % 1.0 @ self.cell
        return tree.query(inside)[1] % len(self)

    def occupations(self, positions: np.ndarray) -> np.ndarray:
        """Mean number of ions at each site (n_sites,) along a trajectory (n_times, n_ions, 3)."""
        counts = np.bincount(self.occupied(positions).ravel(), minlength=len(self))
        return counts / len(positions)


def find_sites(density: Density, *, threshold: float = 0.05, merge_distance: float = 1.2) -> Sites:
    """Sites as the maxima of a density.

    Maxima are taken from the highest down; one that is closer than ``merge_distance`` to another is part of it.

    Parameters
    ----------
    density : Density
    threshold : float
        Lowest maximum, as a fraction of the highest.
    merge_distance : float
        In Å.

    Returns
    -------
    Sites
        Of the whole cell, folded cell after folded cell.

    Raises
    ------
    ValueError
        If a number is out of range, or the density is zero.
    """
    check_fraction("threshold", threshold)
    check_number("merge_distance", merge_distance, "Å")
    values = density.values
    if not values.max() > 0:
        raise ValueError("density is zero everywhere; accepted is one with a maximum")
    peaks = (
        (values == maximum_filter(values, size=3, mode="wrap")) & (values >= threshold * values.max()) & (values > 0)
    )
    places, heights = density.points[peaks], values[peaks]
    order = np.argsort(-heights, kind="stable")
    places, heights = places[order], heights[order]
    groups = cKDTree(_with_images(places, density.cell)).query_ball_point(places, merge_distance)
    free = np.ones(len(places), bool)
    chosen = []
    for peak, group in enumerate(groups):
        if free[peak]:
            chosen.append(peak)
            free[np.array(group) % len(places)] = False
    shifts = np.stack(np.meshgrid(*map(np.arange, density.repeats), indexing="ij"), axis=-1).reshape(-1, 3)
    everywhere = places[chosen] + (shifts @ density.cell)[:, None]
    return Sites(
        positions=everywhere.reshape(-1, 3),
        densities=np.tile(heights[chosen], len(shifts)),
        cell=density.cell * np.array(density.repeats)[:, None],
        n_ions=density.n_ions,
    )


def _with_images(places: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Places (27 n, 3) in a cell and in the cells around it; the remainder by n tells which it is."""
    return (places + (IMAGES @ cell)[:, None]).reshape(-1, 3)


def _trajectory(positions: np.ndarray) -> np.ndarray:
    positions = real_array("positions", positions)
    if positions.ndim != 3 or positions.shape[2] != 3 or 0 in positions.shape:
        raise ValueError(f"positions has shape {positions.shape}; accepted is (n_times, n_atoms, 3)")
    return positions


def _cell(cell: np.ndarray) -> np.ndarray:
    cell = real_array("cell", cell)
    if cell.shape != (3, 3) or not abs(np.linalg.det(cell)) > 1e-9:
        raise ValueError(f"cell is {cell.tolist()}; accepted are three vectors as rows that span a volume")
    return cell
