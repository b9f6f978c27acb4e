"""Pseudo-species: a few density channels for many elements, so that descriptors of the whole periodic table stay small.

Two elements are as alike as their places in the periodic table are near: a Gaussian of the differences in period and
group (Faber, Christensen, Huang, von Lilienfeld, J. Chem. Phys. 148, 241717 (2018)). The leading eigenvectors of that
matrix are the channels (Willatt, Musil, Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018)).
"""

from collections.abc import Sequence

import numpy as np

MAX_SPECIES = 5  # more than these share channels
N_CHANNELS = 4
WIDTH = 1.6  # of the Gaussian, in periods and groups
_NOBLE = np.array([0, 2, 10, 18, 36, 54, 86, 118])


def period_and_group(number: int) -> tuple[int, float]:
    """Place of an element in the periodic table; the f block is spread between groups 3 and 4.

    Parameters
    ----------
    number : int
        Atomic number, 1 to 118.

    Returns
    -------
    tuple of int and float
        Period (1 to 7) and group (1 to 18).

    Raises
    ------
    ValueError
        If there is no such element.
    """
    if not 1 <= number <= 118:
        raise ValueError(f"number is {number}; accepted is an atomic number from 1 to 118")
    period = int(np.searchsorted(_NOBLE, number))
    place, from_end = number - _NOBLE[period - 1], _NOBLE[period] - number
    if place <= (1 if period == 1 else 2):
        return period, float(place)
    if period < 6 or from_end <= 14:
        return period, float(18 - from_end)
    return period, 3.0 + (place - 3) / 15


def alchemical_similarity(species: Sequence[int], width: float = WIDTH) -> np.ndarray:
    """Similarity of elements, from 0 to 1.

    Parameters
    ----------
    species : sequence of int
        Atomic numbers.
    width : float
        Standard deviation of the Gaussian, in periods and groups.

    Returns
    -------
    array (n_species, n_species)
    """
    places = np.array([period_and_group(number) for number in species])
    return np.exp(-((places[:, None] - places) ** 2).sum(axis=-1) / (2 * width**2))


def species_channels(species: Sequence[int], n_channels: int = N_CHANNELS) -> tuple[np.ndarray, float]:
    """Weights of every element in the pseudo-species.

    Parameters
    ----------
    species : sequence of int
        Atomic numbers, ascending.
    n_channels : int

    Returns
    -------
    array (n_species, n_channels)
        Scaled eigenvectors, whose scalar products are the similarities as well as that many channels can.
    float
        Share of the trace of the similarity matrix that they keep.
    """
    values, vectors = np.linalg.eigh(alchemical_similarity(species))
    values, vectors = values[::-1][:n_channels], vectors[:, ::-1][:, :n_channels]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return vectors * np.sqrt(np.maximum(values, 0.0)), float(values.sum() / len(species))
