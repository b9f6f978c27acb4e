"""Rigidities of parts of a prediction: of the contributions of single atoms, and of components of a model.

A model that is trained on properties of whole structures also predicts how these divide among atoms, or among parts
of its features (short and long range, pairs and triples). Their rigidities tell which of these divisions the data
determine. All features are divided by one factor, the root mean square norm of the features of a training atom; they
are not centred and have no constant column, so that numbers of different models compare.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from itertools import pairwise

import numpy as np
from threadpoolctl import ThreadpoolController

from matterscape.uq.arrays import as_array, feature_matrix, row_blocks
from matterscape.uq.rigidity import Rigidity, gram

KINDS = ("atom", "structure")
POOLINGS = ("mean", "sum")
SMALL_WORK = 1e10  # multiplications, about a third of a second


def local_prediction_rigidity(
    train: Sequence, test: Sequence, regularisation: float, *, per: str = "atom", pooling: str = "mean"
) -> list[np.ndarray] | np.ndarray:
    """Local prediction rigidity of every atom, or the rigidity of every structure, of a linear model.

    Training rows are the means of the features of each structure's atoms (a model of the energy per atom), or their
    sums with ``pooling="sum"`` (a model of the total energy). With these rows X, C = X^T X + regularisation 1 and
    LPR_i = 1 / (x_i^T C^-1 x_i).

    Parameters
    ----------
    train : sequence of arrays (n_atoms, n_features)
        Features of the atoms of each training structure.
    test : sequence of arrays (n_atoms, n_features)
        The same for the structures to judge.
    regularisation : float
        Penalty of the model on the scaled, pooled features; positive.
    per : "atom" or "structure"
        Rigidity of the atoms' own contributions, or of the prediction for each structure, pooled as in training.
    pooling : "mean" or "sum"

    Returns
    -------
    list of arrays (n_atoms,), one per test structure; or array (n_test,) for ``per="structure"``

    Raises
    ------
    ValueError
        If a list is empty, features are not finite or differ in width, or an option is unknown.

    References
    ----------
    Chong, Grasselli, Ben Mahmoud, Morrow, Deringer, Ceriotti, J. Chem. Theory Comput. 19, 8020 (2023).
    """
    _check_options(per, pooling)
    train, test = _checked_sets(train, test)
    with _few_threads(test):
        model, mean_square = _model(train, regularisation, pooling)
        return _of_test(lambda rows: mean_square * model.rigidity(rows), test, per, pooling)


def component_prediction_rigidity(
    train: Sequence,
    test: Sequence,
    regularisation: float,
    components: Sequence[int],
    *,
    per: str = "structure",
    pooling: str = "mean",
) -> list[np.ndarray] | np.ndarray:
    """Rigidity of the contribution of each component of a linear model, per structure (CPR) or per atom (LCPR).

    The features are blocks of columns side by side, one block per component. The contribution of a component is the
    prediction for a row whose other blocks are zero; the training rows keep all of theirs, as in
    :func:`local_prediction_rigidity`.

    Parameters
    ----------
    train, test : sequence of arrays (n_atoms, n_features)
        Features of the atoms of each structure.
    regularisation : float
        Penalty of the model on the scaled, pooled features; positive.
    components : sequence of int (n_components,)
        Number of columns of each component, in order.
    per : "structure" or "atom"
        Contributions to the prediction for each structure, pooled as in training, or to those of its atoms.
    pooling : "mean" or "sum"

    Returns
    -------
    array (n_test, n_components); or list of arrays (n_atoms, n_components), one per test structure, for ``per="atom"``

    Raises
    ------
    ValueError
        If ``components`` does not sum to the number of features, a list is empty, features are not finite or differ in
        width, or an option is unknown.

    References
    ----------
    Chong, Bigi, Grasselli, Loche, Kellner, Ceriotti, Faraday Discuss. 256, 322 (2025).
    """
    _check_options(per, pooling)
    train, test = _checked_sets(train, test)
    ends = _ends(components, train[0].shape[1])

    def rigidities(rows: np.ndarray) -> np.ndarray:
        result = np.empty((len(rows), len(ends) - 1))
        for c, (start, stop) in enumerate(pairwise(ends)):
            parts = [
                np.square(block @ axes[start:stop, start:]).sum(axis=1) for block in row_blocks(rows[:, start:stop])
            ]
            with np.errstate(divide="ignore"):
                result[:, c] = mean_square / np.concatenate(parts)
        return result

    with _few_threads(test):
        model, mean_square = _model(train, regularisation, pooling)
        axes = model.whiten(np.eye(len(model.gram)))  # a whitened row is the row times this upper triangle
        return _of_test(rigidities, test, per, pooling)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _few_threads(test: Sequence[np.ndarray]) -> AbstractContextManager:
    """One thread for linear algebra that is soon done.

    numpy and scipy bring a BLAS each, whose threads keep the cores from each other when they take turns.
    """
    work = sum(map(len, test)) * test[0].shape[1] ** 2
    return _blas().limit(limits=1, user_api="blas") if work < SMALL_WORK else nullcontext()


def _check_options(per: str, pooling: str) -> None:
    if per not in KINDS:
        raise ValueError(f"per must be 'atom' or 'structure', got {per!r}")
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be 'mean' or 'sum', got {pooling!r}")


def _model(train: Sequence[np.ndarray], regularisation: float, pooling: str) -> tuple[Rigidity, float]:
    """The model of scaled and pooled training rows, and the square of the scale.

    Rigidities of scaled features are those of the features themselves times the square of the scale.
    """
    squares = sum(float(np.einsum("nd,nd->", block, block, dtype=np.float64)) for block in train)
    if squares == 0:
        raise ValueError("train must hold features that are not all zero")
    mean_square = squares / sum(map(len, train))
    rows = np.stack([_pooled(block, pooling) for block in train])
    return Rigidity(gram(rows / np.sqrt(mean_square)), regularisation), mean_square


def _checked_sets(train: Iterable, test: Iterable) -> tuple[list[np.ndarray], list[np.ndarray]]:
    train = list(_checked(train, "train", None))
    return train, list(_checked(test, "test", train[0].shape[1]))


def _checked(blocks: Iterable, name: str, n_features: int | None) -> Iterator[np.ndarray]:
    if not isinstance(blocks, Iterable):
        raise TypeError(f"{name} must be a list of feature matrices, got {type(blocks).__name__}")
    count = 0
    for block in blocks:
        matrix = feature_matrix(block, f"{name}[{count}]", n_features)
        n_features = matrix.shape[1]
        count += 1
        yield matrix
    if count == 0:
        raise ValueError(f"{name} must hold at least one structure, got none")


def _pooled(block: np.ndarray, pooling: str) -> np.ndarray:
    return getattr(block, pooling)(axis=0, dtype=np.float64)


def _of_test(of_rows: Callable[[np.ndarray], np.ndarray], test: Sequence[np.ndarray], per: str, pooling: str):
    """A function of rows for every test structure, or for the atoms of each."""
    if per == "structure":
        return of_rows(np.stack([_pooled(block, pooling) for block in test]))
    return np.split(of_rows(np.concatenate(test)), np.cumsum([len(block) for block in test])[:-1])


def _ends(components: Sequence[int], n_features: int) -> np.ndarray:
    """Column at which each component starts, and the end."""
    widths = as_array(components)
    if widths.dtype.kind not in "iu" or widths.ndim != 1 or (widths < 1).any():
        raise ValueError(f"components must be a list of whole numbers of columns, at least 1, got {components!r}")
    if widths.sum() != n_features:
        raise ValueError(f"components must sum to the {n_features} features, got {widths.sum()}")
    return np.concatenate([[0], np.cumsum(widths)])
