"""Which structures or environments are mapped, and their features, computed in blocks within a memory budget."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms

from matterscape.structures import Structures

MAX_POINTS = 10_000
MEMORY_BUDGET = 300e6  # bytes of features
DOUBLE_BELOW = 50e6  # bytes; smaller features are kept in double precision
MAX_COLUMNS = 1500  # of more samples than that, so that a model takes seconds
BLOCK_BYTES = 2**25  # of a block's features before they are pooled or chosen from

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

    @property
    def n_atoms(self) -> np.ndarray:
        """Number of atoms of each frame."""
        return np.array([len(atoms) for atoms in self.frames])

    @property
    def rows(self) -> np.ndarray:
        """Row of each point in anything that is listed atom by atom (or, for structures, frame by frame)."""
        if self.environments is None:
            return np.arange(len(self.frames))
        first = np.cumsum(self.n_atoms) - self.n_atoms
        return first[self.environments[:, 0]] + self.environments[:, 1]


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


def make_descriptor(frames: list[Atoms], **parameters):
    """Power spectrum, normalised per environment, for all elements of the frames, with pseudo-species if they are many.

    Parameters
    ----------
    frames : list of ase.Atoms
    **parameters
        ``cutoff``, ``max_radial``, ``max_angular``, ``smearing``, as for `PowerSpectrum`.

    Returns
    -------
    PowerSpectrum and str
        The descriptor and a sentence on its pseudo-species, empty without them.
    """
    from matterscape.descriptors import PowerSpectrum
    from matterscape.maps.hyperparameters import MAX_SPECIES, PSEUDO_SPECIES, pseudo_species

    species = tuple(np.unique(np.concatenate([atoms.numbers for atoms in frames])).tolist())
    if len(species) <= MAX_SPECIES:
        return PowerSpectrum(species, normalise=True, **parameters), ""
    channels = pseudo_species(species, PSEUDO_SPECIES)
    remark = f"{len(species)} elements share {PSEUDO_SPECIES} pseudo-species, by their places in the periodic table"
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
        Of `make_descriptor`.
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
    soap, remark = make_descriptor(samples.frames, **parameters)
    structures = Structures.from_ase(samples.frames)
    n_rows = len(samples) + (0 if samples.environments is None else len(samples.frames))
    n_raw = soap.n_features
    n_columns = min(n_raw, max(2, int(memory_budget / (4 * n_rows))), MAX_COLUMNS if n_rows > MAX_COLUMNS else n_raw)
    compress = None
    if n_columns < n_raw:
        from sklearn.random_projection import SparseRandomProjection

        compress = SparseRandomProjection(n_columns, dense_output=True, random_state=seed).fit(np.empty((1, n_raw)))
    dtype = np.float64 if 8 * n_rows * n_columns < DOUBLE_BELOW else np.float32
    means = np.empty((len(samples.frames), n_columns), dtype)
    rows = means if samples.environments is None else np.empty((len(samples), n_columns), dtype)

    points = samples.rows
    done_frames = done_points = done_atoms = 0
    with torch.no_grad():
        for block in structures.split(max(1, int(BLOCK_BYTES / (8 * n_raw)))):
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
