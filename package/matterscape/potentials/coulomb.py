"""Point charges."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from matterscape.potentials.constants import COULOMB
from matterscape.potentials.long_range import InversePower


class Coulomb(InversePower):
    """Point charges, e^2 / (4 pi eps0) q_i q_j / r, summed over all periodic images.

    Parameters
    ----------
    charges : mapping of chemical symbol to number, or tensor (n_atoms,)
        In elementary charges, for each species, or for each atom of the structures that the potential will be used for.
        Tensors may require gradients.
    **options
        As of :class:`~matterscape.potentials.long_range.InversePower`: ``force_error`` (eV/Å), ``method``,
        ``net_charge``, ``surface`` and the others.

    Raises
    ------
    ValueError
        If an argument is not one of those accepted.
    """

    def __init__(self, charges: Mapping[str, float] | torch.Tensor | np.ndarray, **options: Any):
        super().__init__(charges, 1, prefactor=COULOMB, **options)

    def __str__(self) -> str:
        return "Coulomb"
