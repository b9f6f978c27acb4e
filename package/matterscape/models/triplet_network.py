"""Energies from three-centre features: something nonlinear for every triplet, before the sum over them.

References: Nigam, Pozdnyakov, Huguenin-Dumittan, Ceriotti, APL Mach. Learn. 2, 016110 (2024).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from matterscape.checks import check_whole
from matterscape.descriptors.three_centre import Triplets
from matterscape.models.network import TrainingHistory, multilayer_perceptron, shuffled_batches, train
from matterscape.uq.arrays import target_vector


class TripletNet(nn.Module):
    r"""Mean over all pairs of neighbours of a network of their three-centre features, the same for mirror images.

    .. math:: E_i = E_0 + s\,\Big\langle \tfrac12 \psi(x^+_{i_1 i_2}, x^-_{i_1 i_2}) +
              \tfrac12 \psi(x^+_{i_1 i_2}, -x^-_{i_1 i_2}) \Big\rangle_{i_1 \neq i_2}

    A mirror image has the opposite pseudoscalars x^-: without the mean of both signs, a structure and its image would
    have different energies. A centre without triplets has the energy E_0.

    Parameters
    ----------
    n_even, n_odd : int
        Numbers of scalars and of pseudoscalars of a triplet.
    width : int
        Units of each of the two hidden layers of psi.
    seed : int
        Of the first weights.
    """

    def __init__(self, n_even: int, n_odd: int, width: int = 64, *, seed: int = 0):
        super().__init__()
        for name, count, least in (("n_even", n_even, 1), ("n_odd", n_odd, 0), ("width", width, 1)):
            check_whole(name, count, least)
        self.n_even, self.n_odd = int(n_even), int(n_odd)
        self.psi = multilayer_perceptron([self.n_even + self.n_odd, width, width, 1], "silu", seed=seed)
        self.register_buffer("offset", torch.zeros((), dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def forward(self, triplets: Triplets) -> Tensor:
        """Energies (n_centres,)."""
        return self.offset + self.scale * self.standardised(triplets)

    def standardised(self, triplets: Triplets) -> Tensor:
        """Energies (n_centres,) less their mean, in units of their spread: what the network is trained for."""
        even, odd = triplets.even, triplets.odd
        if (even.shape[1], odd.shape[1]) != (self.n_even, self.n_odd):
            raise ValueError(
                f"triplets have {even.shape[1]} even and {odd.shape[1]} odd features; accepted are {self.n_even} and "
                f"{self.n_odd}"
            )
        both = torch.cat([torch.cat([even, odd], dim=1), torch.cat([even, -odd], dim=1)])
        return triplets.averages(self.psi(both)[:, 0].unflatten(0, (2, -1)).mean(dim=0))

    def fit(
        self,
        triplets: Triplets,
        energies: Tensor | np.ndarray,
        *,
        epochs: int = 150,
        batch_size: int = 32,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-4,
        seed: int = 0,
        progress: Callable[[float, str], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> TrainingHistory:
        """Train with square errors in float32; afterwards the weights are float64.

        Parameters
        ----------
        triplets : Triplets
        energies : array or tensor (n_centres,)
        epochs, batch_size, learning_rate, weight_decay, seed, progress, cancelled
            Of :func:`matterscape.models.network.train`; a batch has so many centres.

        Returns
        -------
        TrainingHistory
            Losses in units of the variance of the energies.

        Raises
        ------
        ValueError
            If the energies are not as many finite numbers as there are centres, or they are all the same.
        """
        targets = torch.as_tensor(target_vector(energies, triplets.n_centres, "energies"))
        spread = targets.std(correction=0)
        if not spread > 0:
            raise ValueError("energies are all the same; accepted are energies to learn from")
        inputs, wanted = triplets.to(torch.float32), ((targets - targets.mean()) / spread).float()
        self.float()
        try:
            return train(
                self,
                lambda chosen: (self.standardised(inputs.select(chosen)) - wanted[chosen]).square().mean(),
                shuffled_batches(triplets.n_centres, batch_size),
                epochs=epochs,
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                seed=seed,
                progress=progress,
                cancelled=cancelled,
            )
        finally:
            self.double()
            self.offset, self.scale = targets.mean(), spread


def quadratic_features(triplets: Triplets) -> Tensor:
    r"""Sums over the triplets of the scalars and of all products of two features of the same parity.

    .. math:: \sum x^+, \qquad \sum x^+ (x^+)^T, \qquad \sum x^- (x^-)^T

    The simplest nonlinear readout: linear regression on these features already tells degenerate partners apart.

    Parameters
    ----------
    triplets : Triplets

    Returns
    -------
    tensor (n_centres, f+ + f+ (f+ + 1) / 2 + f- (f- + 1) / 2)
        Scalars; off-diagonal products times the root of two, so that the norm is that of the full matrices.
    """
    columns = [triplets.sums(triplets.even)]
    for values in (triplets.even, triplets.odd):
        first, second = torch.triu_indices(values.shape[1], values.shape[1], device=values.device)
        weights = torch.where(first == second, 1.0, 2**0.5).to(values)
        counts = triplets.counts.tolist()
        grams = torch.stack([part.T @ part for part in values.split(counts)])
        columns.append(grams[:, first, second] * weights)
    return torch.cat(columns, dim=1)
