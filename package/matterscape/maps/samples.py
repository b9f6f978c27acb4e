"""Which structures or environments are mapped, and their features, computed in blocks within a memory budget."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from ase import Atoms

from matterscape.maps.hyperparameters import pseudo_species, suggest_species_channels
from matterscape.structures import Structures
from matterscape.structures.properties import Properties, collect_properties

MAX_POINTS = 10_000
MEMORY_BUDGET = 300e6  # bytes of features
DOUBLE_BELOW = 50e6  # bytes; smaller features are kept in double precision
MAX_COLUMNS = 1500  # of more samples than that, so that a model takes seconds
BLOCK_BYTES = 2**25  # of a block's densities and features before they are pooled or chosen from
LARGEST_STRUCTURE = 400e6  # bytes of the same, for a structure that is too large for a block

Progress = Callable[[float, str], None]


class Cancelled(Exception):
    """The computation was asked to stop."""


@dataclass(frozen=True)
class Samples:
    """The points of a map.

    Attributes
    ----------
    frames : list of ase.Atoms
        The structures that are mapped, or that hold mapped environments.
    numbers : integer array (n_frames,)
        Place of each frame in the data.
    environments : integer array (n_points, 2) or None
        Frame and atom of each point, sorted; None if the points are the frames.
    remark : str
        What was left out; empty if nothing was.
    """

    frames: list[Atoms]
    numbers: np.ndarray
    environments: np.ndarray | None
    remark: str = ""

    def __len__(self) -> int:
        return len(self.frames) if self.environments is None else len(self.environments)

    @property
    def level(self) -> str:
        """What a point is: "structure" or "atom"."""
        return "structure" if self.environments is None else "atom"

    @cached_property
    def structures(self) -> Structures:
        """The frames as tensors."""
        return Structures.from_ase(self.frames)

    @cached_property
    def properties(self) -> Properties:
        """What the frames hold."""
        return collect_properties(self.frames)

    @cached_property
    def n_atoms(self) -> np.ndarray:
        """Number of atoms of each frame."""
        return np.array([len(atoms) for atoms in self.frames])

    @cached_property
    def rows(self) -> np.ndarray:
        """Row of each point in anything that is listed atom by atom (or, for structures, frame by frame)."""
        if self.environments is None:
            return np.arange(len(self.frames))
        first = np.cumsum(self.n_atoms) - self.n_atoms
        return first[self.environments[:, 0]] + self.environments[:, 1]

    @property
    def numbers_of_atoms(self) -> np.ndarray:
        """Atomic number of each point of a map of environments."""
        return self.structures.species.numpy()[self.rows]


def choose_samples(frames: list[Atoms], per: str, max_points: int = MAX_POINTS, seed: int = 0) -> Samples:
    """All structures or environments, or as many as a map can hold, drawn at random.

    Parameters
    ----------
    frames : list of ase.Atoms
    per : "structure" or "atom"
    max_points : int
    seed : int

    Returns
    -------
    Samples

    Raises
    ------
    ValueError
        If there is no structure, or `per` is another word.
    """
    if per not in ("structure", "atom"):
        raise ValueError(f"per is {per!r}; accepted are 'structure' and 'atom'")
    if not frames:
        raise ValueError("frames is empty; at least one structure is needed")
    counts = np.array([len(atoms) for atoms in frames])
    total = len(frames) if per == "structure" else int(counts.sum())
    chosen = np.arange(total)
    remark = ""
    if total > max_points:
        chosen = np.sort(np.random.default_rng(seed).choice(total, max_points, replace=False))
        what = "structures" if per == "structure" else "environments"
        remark = f"Of {total:,} {what} {max_points:,} were drawn at random (seed {seed})"
    if per == "structure":
        return Samples([frames[i] for i in chosen], chosen, None, remark)
    ends = np.cumsum(counts)
    holder = np.searchsorted(ends, chosen, side="right")
    numbers, frame = np.unique(holder, return_inverse=True)
    atom = chosen - (ends - counts)[holder]
    return Samples([frames[i] for i in numbers], numbers, np.column_stack([frame, atom]), remark)


@dataclass(frozen=True)
class Features:
    """Features of all points.

    Attributes
    ----------
    rows : array (n_points, n_columns)
    means : array (n_frames, n_columns)
        Means over the atoms of every frame; the same array as `rows` if the points are the frames.
    labels : list of str
        Name of each column.
    n_raw : int
        Number of columns of the descriptor, before any compression.
    remarks : tuple of str
    """

    rows: np.ndarray
    means: np.ndarray
    labels: list[str]
    n_raw: int
    remarks: tuple[str, ...]


@lru_cache(maxsize=32)
def make_descriptor(
    species: tuple[int, ...],
    cutoff: float,
    max_radial: int,
    max_angular: int,
    smearing: float,
    species_channels: int | None = None,
):
    """Power spectrum, normalised per environment, with pseudo-species if the elements are many.

    Parameters
    ----------
    species : tuple of int
        Atomic numbers.
    cutoff, smearing : float
        In Å.
    max_radial, max_angular : int
    species_channels : int, optional
        Number of pseudo-species; chosen for more than six species.

    Returns
    -------
    PowerSpectrum and str
        The descriptor and a sentence on its pseudo-species, empty without them.
    """
    from matterscape.descriptors import PowerSpectrum

    parameters = {"cutoff": cutoff, "max_radial": max_radial, "max_angular": max_angular, "smearing": smearing}
    n_channels = suggest_species_channels(len(species)) if species_channels is None else species_channels
    if n_channels is None:
        return PowerSpectrum(species, normalise=True, **parameters), ""
    channels = pseudo_species(species, n_channels)
    remark = f"{len(species)} elements share {n_channels} pseudo-species, by their places in the periodic table"
    return PowerSpectrum(species, normalise=True, species_channels=channels, **parameters), remark


def compute_features(
    samples: Samples,
    parameters: dict,
    *,
    memory_budget: float = MEMORY_BUDGET,
    seed: int = 0,
    progress: Progress = lambda fraction, message: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Features:
    """Features of the points and means of the frames, block by block.

    Where all columns would not fit into the budget, or would make a model slow, they are compressed by a very sparse
    random projection, which keeps distances to a few per cent (Li, Hastie, Church, Proc. KDD, 287 (2006)).

    Parameters
    ----------
    samples : Samples
    parameters : dict
        ``cutoff``, ``max_radial``, ``max_angular``, ``smearing`` and, if wanted, ``species_channels`` of
        `make_descriptor`.
    memory_budget : float
        Bytes of features.
    seed : int
        Of the random projection.
    progress : callable
        Called with the share of the atoms that are done, and a message.
    cancelled : callable
        Asked between blocks.

    Returns
    -------
    Features

    Raises
    ------
    ValueError
        If the structures or the parameters are not valid.
    Cancelled
        If `cancelled` said so.
    """
    structures = samples.structures
    soap, remark = make_descriptor(structures.unique_species, **parameters)
    n_rows = len(samples) + (0 if samples.environments is None else len(samples.frames))
    n_raw = soap.n_features
    n_columns = min(n_raw, max(2, int(memory_budget / (4 * n_rows))), MAX_COLUMNS if n_rows > MAX_COLUMNS else n_raw)
    compress = None
    if n_columns < n_raw:
        from sklearn.random_projection import SparseRandomProjection

        compress = SparseRandomProjection(n_columns, dense_output=True, random_state=seed).fit(np.empty((1, n_raw)))
    densities = (parameters["max_angular"] + 1) ** 2 * len(structures.unique_species) * parameters["max_radial"]
    bytes_per_atom = 8 * (n_raw + densities)
    largest = int(np.argmax(samples.n_atoms))
    if samples.n_atoms[largest] * bytes_per_atom > LARGEST_STRUCTURE:
        raise ValueError(
            f"structure {samples.numbers[largest]} has {samples.n_atoms[largest]:,} atoms, too many for {n_raw:,} "
            f"features each; accepted are {int(LARGEST_STRUCTURE / bytes_per_atom):,} atoms, or fewer radial and "
            "angular functions"
        )
    dtype = np.float64 if 8 * n_rows * n_columns < DOUBLE_BELOW else np.float32
    means = np.empty((len(samples.frames), n_columns), dtype)
    rows = means if samples.environments is None else np.empty((len(samples), n_columns), dtype)

    points = samples.rows
    done_frames = done_points = done_atoms = 0
    with torch.no_grad():
        for block in structures.split(max(1, int(BLOCK_BYTES / bytes_per_atom))):
            if cancelled():
                raise Cancelled
            values = soap(block)
            pooled = torch.zeros(len(block), n_raw, dtype=values.dtype).index_add_(0, block.structure_index, values)
            pooled = (pooled / block.atoms_per_structure[:, None]).numpy()
            means[done_frames : done_frames + len(block)] = pooled if compress is None else compress.transform(pooled)
            if samples.environments is not None:
                stop = np.searchsorted(points, done_atoms + block.n_atoms)
                chosen = values.numpy()[points[done_points:stop] - done_atoms]
                rows[done_points:stop] = chosen if compress is None or not len(chosen) else compress.transform(chosen)
                done_points = stop
            done_frames += len(block)
            done_atoms += block.n_atoms
            progress(done_atoms / structures.n_atoms, "features")

    remarks = [remark] if remark else []
    if compress is None:
        labels = [_label(column) for column in soap.columns]
    else:
        labels = [f"random projection {k}" for k in range(n_columns)]
        remarks.append(f"{n_raw:,} features were compressed to {n_columns:,} by a random projection (seed {seed})")
    return Features(rows, means, labels, n_raw, tuple(remarks))


def _label(column: np.void) -> str:
    from ase.data import chemical_symbols

    kind = "species" if "species_1" in column.dtype.names else "channel"
    names = [
        chemical_symbols[column[f"{kind}_{k}"]] if kind == "species" else f"c{column[f'{kind}_{k}']}" for k in "12"
    ]
    return f"l={column['l']} {names[0]} n={column['n_1']} {names[1]} n={column['n_2']}"
