"""Rigidities of parts of a prediction: of single atoms, and of components of a model.

A model that is trained on structures predicts more than the training pins down directly: the contribution of each atom
(local prediction rigidity, Chong et al., J. Chem. Theory Comput. 19, 8020 (2023)).
"""

from collections.abc import Iterable, Sequence

import numpy as np

from matterscape.uq.arrays import feature_matrix
from matterscape.uq.rigidity import Rigidity, gram


def local_prediction_rigidity(
    train: Sequence, test: Sequence, regularisation: float, *, per: str = "atom", pooling: str = "mean"
) -> list[np.ndarray] | np.ndarray:
    """Local prediction rigidity of every atom, or the rigidity of every structure, of a linear model.

    Training rows are the means of the features of each structure's atoms (a model of the energy per atom), or their
    sums with ``pooling="sum"`` (a model of the total energy). All features are divided by one factor, the root mean
    square norm of the features of a training atom; they are not centred and have no constant column. Then
    C = X^T X + regularisation 1 and LPR_i = 1 / (x_i^T C^-1 x_i).

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
    if per not in ("atom", "structure"):
        raise ValueError(f"per must be 'atom' or 'structure', got {per!r}")
    if pooling not in ("mean", "sum"):
        raise ValueError(f"pooling must be 'mean' or 'sum', got {pooling!r}")
    train = _feature_list(train, "train", None)
    test = _feature_list(test, "test", train[0].shape[1])
    n_atoms = sum(len(block) for block in train)
    scale = np.sqrt(sum(np.square(block, dtype=np.float64).sum() for block in train) / n_atoms)
    if scale == 0:
        raise ValueError("train must hold features that are not all zero")

    pooled = getattr(np, pooling)
    model = Rigidity(
        gram(np.stack([pooled(block, axis=0, dtype=np.float64) for block in train]) / scale), regularisation
    )
    if per == "structure":
        return model.rigidity(np.stack([pooled(block, axis=0, dtype=np.float64) for block in test]) / scale)
    rigidities = model.rigidity(np.concatenate(test) / scale)
    return np.split(rigidities, np.cumsum([len(block) for block in test])[:-1])


def _feature_list(blocks: Iterable, name: str, n_features: int | None) -> list[np.ndarray]:
    matrices = []
    for block in blocks:
        matrices.append(feature_matrix(block, f"{name}[{len(matrices)}]", n_features))
        n_features = matrices[0].shape[1]
    if not matrices:
        raise ValueError(f"{name} must hold at least one structure, got none")
    return matrices
