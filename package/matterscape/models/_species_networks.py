"""Networks of an ensemble potential: one body for the environments of each species, one last layer for all."""

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from matterscape.uq.ensembles import ShallowEnsemble, seeded_generator, seeded_linear

NARROWEST = 1e-3  # spread of a feature below which it counts as constant, relative to the widest one


class SpeciesBodies(torch.nn.Module):
    """Standardises the descriptor of each atom and maps it to last-layer features by the network of its species.

    Parameters
    ----------
    n_species, n_inputs : int
    hidden : sequence of int
        Widths of the hidden layers, the last of which is the number of last-layer features.
    seed : int
        Of the first weights.
    """

    def __init__(self, n_species: int, n_inputs: int, hidden: Sequence[int], seed: int):
        super().__init__()
        generator = seeded_generator(seed, 0)
        widths = (n_inputs, *hidden)
        self.layers = torch.nn.ModuleList(
            torch.nn.ModuleList(seeded_linear(n, m, generator) for n, m in pairwise(widths)) for _ in range(n_species)
        )
        self.register_buffer("centres", torch.zeros(n_species, n_inputs, dtype=torch.float64))
        self.register_buffer("inverse_widths", torch.ones(n_species, n_inputs, dtype=torch.float64))

    def standardise(self, rows: Tensor, kinds: Tensor) -> None:
        """Take mean and standard deviation of every column from the rows of each species.

        Parameters
        ----------
        rows : tensor (n_atoms, n_inputs)
        kinds : tensor (n_atoms,), int64
            Species of each atom, as its place in the list of species.
        """
        for kind in range(len(self.layers)):
            own = rows[kinds == kind]
            if len(own) == 0:
                continue
            widths, means = torch.std_mean(own.double(), dim=0, correction=0)
            self.centres[kind] = means
            widest = widths.max()
            # what never varies in training must not shout when it varies later
            self.inverse_widths[kind] = 1 / widths.clamp_min(NARROWEST * widest) if widest > 0 else 1.0

    def forward(self, rows: Tensor, kinds: Tensor) -> Tensor:
        """Last-layer features (n_atoms, d) of descriptors (n_atoms, n_inputs)."""
        if len(self.layers) == 1:
            return self._body(rows, 0)
        order = torch.argsort(kinds, stable=True)
        counts = torch.bincount(kinds, minlength=len(self.layers)).tolist()
        parts = [self._body(part, kind) for kind, part in enumerate(rows[order].split(counts))]
        return torch.cat(parts)[torch.argsort(order)]

    def _body(self, rows: Tensor, kind: int) -> Tensor:
        values = (rows - self.centres[kind]) * self.inverse_widths[kind]
        for layer in self.layers[kind]:
            values = torch.nn.functional.silu(layer(values))
        return values


def in_dtype(network: ShallowEnsemble, like: Tensor) -> ShallowEnsemble:
    """The network in the dtype and on the device of a tensor; a copy, if it has to be converted."""
    own = network.head.weight
    if own.dtype == like.dtype and own.device == like.device:
        return network
    return copy.deepcopy(network).to(like.device, like.dtype)
