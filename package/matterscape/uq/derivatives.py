"""Derivatives of everything that is linear in the features of a last layer: forces of members, rows of forces.

With E_k = w_k . f(r), dE_k/dr is a combination of df_c/dr. The smaller of the number of members and the number of
features is the number of passes backwards through the network; the rest is a matrix product.
"""

import torch

from matterscape.uq.arrays import feature_matrix


def member_gradients(features: torch.Tensor, weights, inputs: torch.Tensor) -> torch.Tensor:
    """Gradient of every member's prediction, summed over the rows of features.

    Forces are the negative gradients with respect to positions. Energies of several structures may be summed, since an
    atom moves the energy of its own structure only.

    Parameters
    ----------
    features : tensor (n_samples, n_features)
        With a graph that leads to ``inputs``; the graph is kept.
    weights : array or tensor (n_features, n_members)
        For instance those of a :class:`matterscape.uq.last_layer.LastLayerEnsemble`; a constant column of the features
        contributes nothing.
    inputs : tensor (...)
        What to differentiate by, such as positions (n_atoms, 3).

    Returns
    -------
    tensor (n_members, ...)
        In the dtype of the inputs, without a graph.

    Raises
    ------
    ValueError
        If the shapes disagree, a weight is not finite, or the features do not depend on the inputs.
    """
    _check_graph(features, inputs)
    matrix = feature_matrix(weights, "weights")
    if len(matrix) != features.shape[1]:
        raise ValueError(f"weights must have a row for each of the {features.shape[1]} features, got {len(matrix)}")
    columns = torch.from_numpy(matrix).to(features)
    if columns.shape[1] <= columns.shape[0]:
        return _pulled_back(features, columns.mT, inputs)
    return torch.tensordot(columns.mT.to(inputs), _unit_gradients(features, inputs), dims=1)


def feature_jacobian_rows(features: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Rows -df/dr, one for each component of the inputs: what forces are in terms of the weights.

    F = (-df/dr) w, so these rows enter a Gram matrix beside those of energies, with the weight that forces have in the
    loss, and a :class:`matterscape.uq.Rigidity` gives the variances of forces for them.

    Parameters
    ----------
    features : tensor (n_samples, n_features)
        Features of structures, or of atoms, which are summed; with a graph that leads to ``inputs`` and is kept.
    inputs : tensor (...)
        Positions (n_atoms, 3), as a rule.

    Returns
    -------
    tensor (inputs.numel(), n_features)
        In the dtype of the inputs, without a graph; for positions rows (atom, x) with x innermost.

    Raises
    ------
    ValueError
        If the features do not depend on the inputs.
    """
    _check_graph(features, inputs)
    return -_unit_gradients(features, inputs).reshape(features.shape[1], -1).mT.contiguous()


def _unit_gradients(features: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Gradients (n_features, ...) of the sum of each feature over the samples."""
    return _pulled_back(features, torch.eye(features.shape[1], dtype=features.dtype, device=features.device), inputs)


def _pulled_back(features: torch.Tensor, combinations: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Gradients (n_combinations, ...) of combinations (n_combinations, n_features) of the summed features."""
    result = inputs.new_empty(len(combinations), *inputs.shape)
    for row, combination in zip(result, combinations):
        (gradient,) = torch.autograd.grad(
            features, inputs, combination.expand_as(features), retain_graph=True, allow_unused=True
        )
        if gradient is None:
            raise ValueError("features must be computed from inputs, got features whose graph does not lead there")
        row.copy_(gradient)
    return result


def _check_graph(features: torch.Tensor, inputs: torch.Tensor) -> None:
    if not isinstance(features, torch.Tensor) or features.ndim != 2 or features.numel() == 0:
        shape = f"shape {tuple(features.shape)}" if isinstance(features, torch.Tensor) else type(features).__name__
        raise ValueError(f"features must be a non-empty tensor (samples, features), got {shape}")
    if not (isinstance(inputs, torch.Tensor) and inputs.requires_grad):
        raise ValueError("inputs must be a tensor that requires gradients before the features are computed from it")
    if not features.requires_grad:
        raise ValueError("features must be computed from inputs with gradients enabled, got features without a graph")
