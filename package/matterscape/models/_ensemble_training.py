"""What an ensemble potential is trained on: descriptors computed once, forces through a graph kept for all epochs.

The network works on descriptors x, and the forces are a fixed linear map of dE/dx: the derivative of the descriptors.
The graph of this map is recorded once for every batch of structures, so that an epoch costs the network and the map,
but neither neighbour search nor density expansion.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from matterscape.kernels import parameters_only
from matterscape.models.network import shuffled_batches
from matterscape.structures import Pairs
from matterscape.uq.ensembles import ShallowEnsemble, mean_and_variance
from matterscape.uq.losses import gaussian_negative_log_likelihood, gaussian_ranked_probability

LOSSES = ("likelihood", "ranked probability", "squared")
# of a Gaussian with the mean and variance of the targets, in units of their standard deviation
STARTING_LOSS = {"likelihood": 1.4189385332046727, "ranked probability": 0.5641895835477563, "squared": 1.0}


@dataclass(frozen=True, eq=False)
class Examples:
    """Structures with what is known of them, in the units of the network.

    Attributes
    ----------
    rows : tensor (n_atoms, n_inputs)
        Descriptors.
    kinds, structure_index : tensor (n_atoms,), int64
    counts : tensor (B,)
        Atoms of each structure.
    targets : tensor (B,)
        Energies.
    forces : tensor (n_atoms, 3) or None
    graph : tuple or None
        Descriptors that depend on the vectors of the pairs, and the pairs.
    """

    rows: Tensor
    kinds: Tensor
    structure_index: Tensor
    counts: Tensor
    targets: Tensor
    forces: Tensor | None = None
    graph: tuple[Tensor, Pairs] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, chosen: Tensor) -> "Examples":
        """Some of the structures, for training on energies."""
        ends = self.counts.long().cumsum(0)
        counts = self.counts.long()[chosen]
        first = torch.repeat_interleave(ends[chosen] - counts - (counts.cumsum(0) - counts), counts)
        atoms = first + torch.arange(len(first))
        index = torch.repeat_interleave(torch.arange(len(chosen)), counts)
        return Examples(self.rows[atoms], self.kinds[atoms], index, self.counts[chosen], self.targets[chosen])

    def members(self, network: ShallowEnsemble, features: Tensor) -> Tensor:
        """Energies (B, M) of all members from the last-layer features of the atoms."""
        sums = features.new_zeros(len(self), features.shape[1]).index_add(0, self.structure_index, features)
        return sums @ network.head.weight.T + self.counts[:, None] * network.head.bias

    def losses(self, network: ShallowEnsemble, energy_loss: str, force_weight: float) -> Tensor:
        """Loss of each structure (B,): of its energy, plus the weighted mean square error of its forces."""
        if self.forces is None:
            return self._energy_losses(energy_loss, network, network.features(self.rows, self.kinds))
        rows = self.rows.detach().requires_grad_()
        with torch.enable_grad():
            features = network.features(rows, self.kinds)
            energies = features @ network.head.weight.mean(0)
            errors = (self._forces(energies, rows) - self.forces).square().sum(1)
        squares = errors.new_zeros(len(self)).index_add(0, self.structure_index, errors) / (3 * self.counts)
        return self._energy_losses(energy_loss, network, features) + force_weight * squares

    def _energy_losses(self, kind: str, network: ShallowEnsemble, features: Tensor) -> Tensor:
        # errors grow with the root of the number of atoms as long as these are independent
        unit = self.counts.sqrt()
        mean, variance = mean_and_variance(self.members(network, features) / unit[:, None])
        target = self.targets / unit
        if kind == "squared":
            return (mean - target).square()
        score = gaussian_negative_log_likelihood if kind == "likelihood" else gaussian_ranked_probability
        return score(mean, variance, target)

    def _forces(self, energies: Tensor, rows: Tensor) -> Tensor:
        (on_rows,) = torch.autograd.grad(energies.sum(), rows, create_graph=True)
        return on_pairs_to_forces(_PullBack.apply(on_rows, self.graph), self.graph[1], len(rows))


class _PullBack(torch.autograd.Function):
    """Derivatives with respect to the vectors of pairs from those with respect to the descriptors of atoms.

    Linear, and differentiable in its first argument only: the graph of the descriptors outlives every use.
    """

    @staticmethod
    def forward(ctx: Any, on_rows: Tensor, graph: tuple[Tensor, Pairs]) -> Tensor:
        described, pairs = graph
        with torch.enable_grad(), parameters_only():
            ctx.on_rows = on_rows.detach().requires_grad_()
            (ctx.slopes,) = torch.autograd.grad(described, pairs.vectors, ctx.on_rows, create_graph=True)
        return ctx.slopes.detach()

    @staticmethod
    def backward(ctx: Any, on_slopes: Tensor) -> tuple[Tensor, None]:
        return *torch.autograd.grad(ctx.slopes, ctx.on_rows, on_slopes), None


def on_pairs_to_forces(slopes: Tensor, pairs: Pairs, n_atoms: int) -> Tensor:
    """Forces (n_atoms, 3) from derivatives (P, 3) of the energy with respect to the vectors of the pairs."""
    return slopes.new_zeros(n_atoms, 3).index_add(0, pairs.first, slopes).index_add(0, pairs.second, -slopes)


def batches_of_epochs(
    examples: Sequence[Examples], batch_size: int, warm_up: int, energy_loss: str
) -> Callable[[np.random.Generator], Iterator[tuple[str, Examples]]]:
    """What :func:`~matterscape.models.network.train` calls every epoch: batches in a new order, with the loss to use.

    Parameters
    ----------
    examples : sequence of Examples
        Batches as they are, or a single one to draw batches of structures from.
    batch_size : int
        Structures in a batch drawn from a single one.
    warm_up : int
        First epochs with square errors.
    energy_loss : str
        Of the epochs after them.
    """
    epochs = itertools.count()
    drawn = examples[0].graph is None
    indices = shuffled_batches(len(examples[0]) if drawn else len(examples), batch_size if drawn else 1)

    def batches(generator: np.random.Generator) -> Iterator[tuple[str, Examples]]:
        kind = "squared" if next(epochs) < warm_up else energy_loss
        for chosen in indices(generator):
            yield kind, examples[0].select(chosen) if drawn else examples[int(chosen)]

    return batches
