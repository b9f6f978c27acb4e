"""Shallow ensembles: one network, many last layers, and so many predictions for little more than the price of one.

The members y_k = w_k . f + b_k share everything but the last layer. Their mean is the prediction, their spread its
uncertainty, and because each of them is a model of its own, each can be carried through any later computation
(Kellner, Ceriotti, Mach. Learn.: Sci. Technol. 5, 035006 (2024)).
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from matterscape.checks import check_whole
from matterscape.uq.last_layer import LastLayerEnsemble, check_module


def seeded_linear(
    n_inputs: int, n_outputs: int, generator: torch.Generator, *, bias: bool = True, dtype: torch.dtype = torch.float64
) -> torch.nn.Linear:
    """Linear layer with weights and biases uniform within one over the root of the number of inputs, from a generator.

    Parameters
    ----------
    n_inputs, n_outputs : int
    generator : torch.Generator
    bias : bool
    dtype : torch.dtype

    Returns
    -------
    torch.nn.Linear
    """
    layer = torch.nn.utils.skip_init(torch.nn.Linear, int(n_inputs), int(n_outputs), bias=bias, dtype=dtype)
    bound = n_inputs**-0.5
    for parameter in layer.parameters():
        torch.nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer


def seeded_generator(seed: int, stream: int) -> torch.Generator:
    """Random generator of torch for one of several independent uses of the same seed.

    Parameters
    ----------
    seed : int
    stream : int
        Which of the uses.

    Returns
    -------
    torch.Generator
    """
    check_whole("seed", seed, 0)
    return torch.Generator().manual_seed(int(np.random.SeedSequence((int(seed), stream)).generate_state(1)[0]))


class ShallowEnsemble(torch.nn.Module):
    """Network with one linear last layer per member on a common body.

    Parameters
    ----------
    body : torch.nn.Module
        Maps its inputs to features (n_samples, n_features).
    n_features : int
    n_members : int
        One member has no variance, but its last layer still has a rigidity.
    bias : bool
        Give every member a constant of its own.
    seed : int
        Of the members' first weights, which all differ.

    Attributes
    ----------
    head : torch.nn.Linear
        The last layers of all members, in the dtype and on the device of the body.

    Raises
    ------
    TypeError
        If the body is no module.
    ValueError
        If there are no members or no features.
    """

    def __init__(self, body: torch.nn.Module, n_features: int, n_members: int, bias: bool = True, *, seed: int = 0):
        super().__init__()
        check_module("body", body)
        check_whole("n_features", n_features, 1)
        check_whole("n_members", n_members, 1)
        like = next(body.parameters(), torch.empty(0, dtype=torch.float64))
        self.body = body
        head = seeded_linear(n_features, n_members, seeded_generator(seed, 1), bias=bias, dtype=like.dtype)
        self.head = head.to(like.device)

    @property
    def n_members(self) -> int:
        """Number of members."""
        return self.head.out_features

    def features(self, *inputs: Tensor) -> Tensor:
        """Last-layer features that all members share.

        Parameters
        ----------
        *inputs : tensors
            What the body takes.

        Returns
        -------
        tensor (n_samples, n_features)
        """
        return self.body(*inputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Predictions of all members.

        Parameters
        ----------
        *inputs : tensors
            What the body takes.

        Returns
        -------
        tensor (n_samples, n_members)
        """
        return self.head(self.body(*inputs))

    def with_gradient(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions of all members, and the gradient of their mean, for little more than the price of one model.

        Parameters
        ----------
        inputs : tensor (n_samples, ...)
            The only input of the body.

        Returns
        -------
        members : tensor (n_samples, n_members)
        gradient : tensor like the inputs
            Of the sum over the samples of the members' mean.
        """
        inputs = inputs.detach().requires_grad_()
        features = self.body(inputs)
        members = self.head(features.detach()).detach()
        # Only the weights of the mean go back through the body, so that the members cost one product forward.
        mean_weight = self.head.weight.detach().mean(dim=0)
        (gradient,) = torch.autograd.grad(features, inputs, mean_weight.expand_as(features))
        return members, gradient

    def mean_and_variance(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of the members and their unbiased variance.

        Parameters
        ----------
        *inputs : tensors
            What the body takes.

        Returns
        -------
        tuple of tensors (n_samples,)
        """
        return mean_and_variance(self(*inputs))

    def last_layer(self) -> LastLayerEnsemble:
        """The last layers of all members as they are now, for features from elsewhere, sums over atoms, propagation.

        Returns
        -------
        LastLayerEnsemble
        """
        return LastLayerEnsemble.from_linear(self.head)


class DeepEnsemble(torch.nn.Module):
    """Networks that share nothing, as one module: what a shallow ensemble competes with.

    Parameters
    ----------
    networks : iterable of torch.nn.Module
        Each maps the inputs to one number per sample (n_samples, 1), and starts from weights of its own.

    Raises
    ------
    TypeError
        If one of them is no module.
    ValueError
        If there is none.
    """

    def __init__(self, networks: Iterable[torch.nn.Module]):
        super().__init__()
        networks = list(networks)
        if not networks:
            raise ValueError("networks must hold at least one network, got none")
        for k, network in enumerate(networks):
            check_module(f"networks[{k}]", network)
        self.networks = torch.nn.ModuleList(networks)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Predictions of all networks.

        Parameters
        ----------
        *inputs : tensors
            What each network takes.

        Returns
        -------
        tensor (n_samples, n_members)
        """
        return torch.cat([network(*inputs) for network in self.networks], dim=1)


def mean_and_variance(members: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the members' predictions and their unbiased variance, sum_k (y_k - mean)^2 / (n_members - 1).

    Parameters
    ----------
    members : tensor (n_samples, n_members)

    Returns
    -------
    tuple of tensors (n_samples,)

    Raises
    ------
    TypeError
        If the members are no tensor.
    ValueError
        If there are fewer than two members.
    """
    if not isinstance(members, Tensor):
        raise TypeError(f"members must be a tensor (samples, members), got {type(members).__name__}")
    if members.shape[-1] < 2:
        raise ValueError(f"members must be at least 2, because their spread is the variance, got {members.shape[-1]}")
    variance, mean = torch.var_mean(members, dim=-1, correction=1)
    return mean, variance
