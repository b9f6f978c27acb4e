"""Ensembles that share everything but the last linear layer, and the features that this layer sees.

A prediction is f . w with the features f of the last layer; a bias is the weight of a constant feature 1, the last
column. Several weight vectors on the same features are an ensemble that costs one matrix product. It does not matter
where they come from: heads that were trained together (Kellner, Ceriotti, Mach. Learn.: Sci. Technol. 5, 035006
(2024)) or samples of the posterior of a linear layer (Bigi et al., Mach. Learn.: Sci. Technol. 5, 045018 (2024)).
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from matterscape.checks import check_whole
from matterscape.uq.arrays import as_array, feature_matrix, feature_pair, row_blocks, target_vector
from matterscape.uq.propagation import stretched

if TYPE_CHECKING:
    import torch


class LastLayerEnsemble:
    """Ensemble of linear models on the same features: member k predicts f . w_k.

    Features may be arrays or tensors; tensors give tensors on their device, in float64, that can be differentiated.
    Spreads are estimates from a sample: all of them divide by n_members - 1.

    Parameters
    ----------
    weights : array or tensor (n_features, n_members)
        One column per member; the last row belongs to the constant feature if there is a bias. Tensors are detached.

    Attributes
    ----------
    weights : array (n_features, n_members), float64
    n_features, n_members : int

    Raises
    ------
    ValueError
        If there are fewer than two members, or a weight is not finite.
    """

    def __init__(self, weights):
        matrix = feature_matrix(weights, "weights").astype(np.float64)
        if matrix.shape[1] < 2:
            raise ValueError(f"weights must have a column for each of at least 2 members, got {matrix.shape[1]}")
        self.weights = matrix
        self.n_features, self.n_members = matrix.shape
        self._mean = matrix.mean(axis=1)
        self._deviations = matrix - self._mean[:, None]

    @classmethod
    def from_linear(cls, layer: "torch.nn.Linear") -> "LastLayerEnsemble":
        """Ensemble whose members are the outputs of a linear layer.

        Parameters
        ----------
        layer : torch.nn.Linear
            Its bias, if it has one, becomes the weight of the constant feature.

        Returns
        -------
        LastLayerEnsemble

        Raises
        ------
        TypeError
            If ``layer`` is something else.
        """
        _check_linear(layer, "layer")
        rows = [as_array(layer.weight).T]
        if layer.bias is not None:
            rows.append(as_array(layer.bias)[None])
        return cls(np.concatenate(rows))

    @classmethod
    def around(cls, coefficients, spread: np.ndarray, n_members: int, seed) -> "LastLayerEnsemble":
        """Gaussian sample of weights whose mean is exactly the given one.

        The mean of the noise is taken out, which leaves the expected sample covariance S S^T as it is.

        Parameters
        ----------
        coefficients : array (n_features,)
            Weights of the model itself.
        spread : array (n_features, n_features)
            Matrix S that turns normal noise into deviations of the weights.
        n_members : int
            At least 2.
        seed : int or numpy.random.Generator
            The noise depends on it and on the two numbers of columns only.

        Returns
        -------
        LastLayerEnsemble
        """
        check_whole("n_members", n_members, 2, "number of members")
        coefficients = target_vector(coefficients, len(spread), "coefficients")
        noise = np.random.default_rng(seed).standard_normal((int(n_members), len(spread))).T
        noise = noise - noise.mean(axis=1, keepdims=True)
        return cls(coefficients[:, None] + spread @ noise)

    def members(self, features):
        """Prediction of every member.

        Parameters
        ----------
        features : array or tensor (n_samples, n_features)
            One row per prediction; for the energy of a structure the sum over its atoms.

        Returns
        -------
        array or tensor (n_samples, n_members), float64
        """
        return self._times(features, self.weights)

    def mean(self, features):
        """Mean of the members.

        Parameters
        ----------
        features : array or tensor (n_samples, n_features)

        Returns
        -------
        array or tensor (n_samples,), float64
        """
        return self._times(features, self._mean[:, None])[:, 0]

    def variance(self, features):
        """Variance of the members, with n_members - 1 in the denominator.

        Parameters
        ----------
        features : array or tensor (n_samples, n_features)

        Returns
        -------
        array or tensor (n_samples,), float64
        """
        deviations = self._times(features, self._deviations)
        return (deviations * deviations).sum(1) / (self.n_members - 1)

    def standard_deviation(self, features):
        """Standard deviation of the members, the root of :meth:`variance`.

        Parameters
        ----------
        features : array or tensor (n_samples, n_features)

        Returns
        -------
        array or tensor (n_samples,), float64
        """
        return self.variance(features) ** 0.5

    def covariance(self, first, second):
        """Covariance of every pair of predictions.

        Parameters
        ----------
        first, second : array or tensor (n_a, n_features) and (n_b, n_features)

        Returns
        -------
        array or tensor (n_a, n_b), float64
        """
        first, second = feature_pair(first, second, self.n_features)
        first = self._times(first, self._deviations, "first")
        return first @ self._times(second, self._deviations, "second").T / (self.n_members - 1)

    def difference_variance(self, first, second):
        """Variance of each difference of two predictions, in which shared errors cancel.

        Parameters
        ----------
        first, second : array or tensor (n_samples, n_features)

        Returns
        -------
        array or tensor (n_samples,), float64
        """
        first, second = feature_pair(first, second, self.n_features)
        first = self._times(first, self._deviations, "first")
        second = self._times(second, self._deviations, "second")
        if len(first) != len(second):
            raise ValueError(f"first and second must have the same number of rows, got {len(first)} and {len(second)}")
        difference = first - second
        return (difference * difference).sum(1) / (self.n_members - 1)

    def stretched(self, factor: float) -> "LastLayerEnsemble":
        """Ensemble with all deviations from the mean multiplied by one factor.

        With the root of a calibrated variance scale everything that is propagated through the members is calibrated.

        Parameters
        ----------
        factor : float
            Positive.

        Returns
        -------
        LastLayerEnsemble
        """
        return LastLayerEnsemble(stretched(self.weights, factor))

    def subset(self, members) -> "LastLayerEnsemble":
        """Ensemble of some of the members.

        Parameters
        ----------
        members : int, slice, or integer or boolean array
            The number of members to keep from the first on, or which ones.

        Returns
        -------
        LastLayerEnsemble

        Raises
        ------
        ValueError
            If these are not members of the ensemble, or fewer than two.
        """
        accepted = f"a number from 2 to {self.n_members}, a slice, or integers or truth values that name members"
        if isinstance(members, int | np.integer) and not isinstance(members, bool):
            if not 2 <= members <= self.n_members:
                raise ValueError(f"members is {members}; accepted is {accepted}")
            members = slice(int(members))
        chosen = members if isinstance(members, slice) else as_array(members)
        try:
            weights = self.weights.T[chosen].T
        except IndexError:
            raise ValueError(f"members is {members!r}; accepted is {accepted}") from None
        return LastLayerEnsemble(weights)

    def _times(self, features, matrix: np.ndarray, name: str = "features"):
        if hasattr(features, "detach"):
            import torch

            from matterscape.uq.quadratic import feature_tensor

            rows = feature_tensor(features, name, self.n_features)
            return rows @ torch.from_numpy(matrix).to(rows.device)
        rows = feature_matrix(features, name, self.n_features)
        return np.concatenate([block @ matrix for block in row_blocks(rows)])


def last_layer_features(
    module: "torch.nn.Module", *inputs, layer: "str | torch.nn.Linear | None" = None, batch_size: int | None = None
) -> "torch.Tensor":
    """Features that the last linear layer of a network sees, with the constant column of its bias.

    They are the rows of :func:`matterscape.uq.gram` and of everything that is built on it. A hook reads them while the
    module runs in evaluation mode; the mode of every submodule is restored and nothing is copied.

    Parameters
    ----------
    module : torch.nn.Module
    *inputs
        What the module is called with.
    layer : str or torch.nn.Linear, optional
        The layer, or its name in ``module.named_modules()``. By default the last linear layer that runs, which then
        must give the output of the module. Name it where the output is another linear function of the layer's: a sum
        over atoms, a change of units.
    batch_size : int, optional
        Call the module on this many samples at a time; only for inputs that are tensors with one sample per row. All at
        once by default.

    Returns
    -------
    tensor (n_samples, n_features), one column more if the layer has a bias
        In the dtype of the layer; leading dimensions of its input are flattened. Differentiable if an input requires
        gradients.

    Raises
    ------
    TypeError
        If ``layer`` is not a linear layer.
    ValueError
        If there is no such layer, it is called never or more than once, or something follows it that makes the output
        of the module another one.
    """
    import torch

    batches = [inputs] if batch_size is None else _batches(inputs, batch_size)
    candidates = _linear_layers(module, layer)
    differentiable = torch.is_grad_enabled() and any(isinstance(x, torch.Tensor) and x.requires_grad for x in inputs)
    parts = []
    with evaluation_mode(module), torch.set_grad_enabled(differentiable):
        for batch in batches:
            parts.append(_features_of_call(module, batch, candidates, must_be_output=layer is None))
    return torch.cat(parts)


def _linear_layers(module: "torch.nn.Module", layer: "str | torch.nn.Linear | None") -> dict[str, "torch.nn.Linear"]:
    """Layers to watch, by name."""
    import torch

    check_module("module", module)
    named = dict(module.named_modules())
    if layer is None:
        found = {name: part for name, part in named.items() if isinstance(part, torch.nn.Linear)}
        if not found:
            raise ValueError("module has no torch.nn.Linear, so it has no last linear layer")
        return found
    if isinstance(layer, str):
        if layer not in named:
            raise ValueError(f"layer '{layer}' is not in the module, which has {', '.join(filter(None, named))}")
        found = {layer: named[layer]}
    else:
        found = {name: part for name, part in named.items() if part is layer}
        if not found:
            raise ValueError(f"layer must be part of the module, or the name of one, got {type(layer).__name__}")
    _check_linear(next(iter(found.values())), "layer")
    return found


def _features_of_call(
    module: "torch.nn.Module", inputs: tuple, candidates: dict[str, "torch.nn.Linear"], must_be_output: bool
) -> "torch.Tensor":
    """Input rows of the last of the candidate layers that the module calls."""
    import torch

    counts: Counter[str] = Counter()
    last: list = []  # of the calls so far; the other layers' activations are not kept

    def keep(name: str, arguments: tuple, keywords: dict, output: torch.Tensor) -> None:
        counts[name] += 1
        last[:] = name, arguments[0] if arguments else keywords["input"], output

    handles = [
        part.register_forward_hook(lambda _, *call, name=name: keep(name, *call), with_kwargs=True)
        for name, part in candidates.items()
    ]
    try:
        result = module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not last:
        raise ValueError(f"layer '{', '.join(candidates)}' is not called when the module runs")
    name, features, output = last
    if counts[name] > 1:
        raise ValueError(f"layer '{name}' is called {counts[name]} times in one run, so its features are not unique")
    if must_be_output and not _same_numbers(result, output):
        raise ValueError(
            f"the output of the module is not that of its last linear layer '{name}'; name the layer if what follows "
            "it is linear too"
        )
    rows = features.reshape(-1, features.shape[-1])
    if candidates[name].bias is None:
        return rows
    return torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)


def _same_numbers(result: Any, output: "torch.Tensor") -> bool:
    import torch

    return (
        isinstance(result, torch.Tensor)
        and result.numel() == output.numel()
        and bool(torch.equal(result.detach().reshape(-1), output.detach().reshape(-1)))
    )


def _batches(inputs: tuple, batch_size: int) -> list[tuple]:
    import torch

    check_whole("batch_size", batch_size, 1, "number of samples")
    lengths = {len(x) if isinstance(x, torch.Tensor) and x.ndim else None for x in inputs}
    if None in lengths or len(lengths) != 1:
        raise ValueError("batch_size needs inputs that are tensors with the same number of rows")
    return list(zip(*(torch.split(x, int(batch_size)) for x in inputs)))


@contextmanager
def evaluation_mode(module: "torch.nn.Module") -> Iterator[None]:
    """The module and its parts are in evaluation mode inside; afterwards each is in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def check_module(name: str, module: Any) -> None:
    """Raise ``TypeError`` unless an argument is a module of torch."""
    import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"{name} must be a torch.nn.Module, got {type(module).__name__}")


def _check_linear(layer: Any, name: str) -> None:
    import torch

    if not isinstance(layer, torch.nn.Linear):
        raise TypeError(f"{name} must be a torch.nn.Linear, got {type(layer).__name__}")
