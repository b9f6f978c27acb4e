"""Point charges, alone and together with short-ranged pair potentials."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols

from matterscape.potentials import alkali_halides, pair
from matterscape.potentials._long_range_bound import BoundReciprocal, BoundTerms
from matterscape.potentials.base import Bound
from matterscape.potentials.composition import Sum
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.ewald_parameters import Parameters
from matterscape.potentials.long_range import InversePower
from matterscape.potentials.pair import PairPotential
from matterscape.structures import NeighbourLists, Structures


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

    @property
    def charges(self) -> dict[str, float] | torch.Tensor:
        """The charges as given: of each species, or of each atom."""
        if self.species is None:
            return self.coefficients
        return {chemical_symbols[number]: float(q) for number, q in zip(self.species, self.coefficients)}

    def real_space(
        self, structures: Structures, coefficients: torch.Tensor, parameters: Parameters
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The real-space part, by the faster loops of pair potentials where no gradient of the charges is wanted."""
        if self.species is None or self.coefficients.requires_grad or parameters.method == "direct":
            return super().real_space(structures, coefficients, parameters)
        result = pair.coulomb(self.charges, alpha=parameters.alpha, cutoff=parameters.cutoff)(structures)
        return result.energies, result.forces, result.flux_tensors

    def bind_pairs(self, structures: Structures, parameters: Parameters, lists: NeighbourLists) -> Bound:
        """The real-space part for many steps, by the faster loops of pair potentials where they apply."""
        if self.species is None or parameters.method == "direct":
            return super().bind_pairs(structures, parameters, lists)
        return pair.coulomb(self.charges, alpha=parameters.alpha, cutoff=parameters.cutoff).bind(structures, lists)


class Ionic(Sum):
    """A pair potential between ions together with their charges; dynamics visits every pair once for both.

    Parameters
    ----------
    pairs : PairPotential
        Short-ranged part.
    charges : mapping of chemical symbol to number, optional
        For every species of ``pairs``; its own if not given.
    **options
        As of :class:`Coulomb`.

    Raises
    ------
    ValueError
        If there are no charges, or an option is not one of those accepted.
    """

    def __init__(self, pairs: PairPotential, charges: Mapping[str, float] | None = None, **options: Any):
        if charges is None:
            charges = pairs.charges
        if charges is None:
            raise ValueError(f"charges is None, and {pairs} has none; accepted is a charge for each of its species")
        missing = [symbol for symbol in pairs.symbols if symbol not in charges]
        if missing:
            raise ValueError(
                f"charges has none for {missing[0]}; accepted is one for each of {', '.join(pairs.symbols)}"
            )
        self.pairs = pairs
        self.coulomb = Coulomb({symbol: charges[symbol] for symbol in pairs.symbols}, **options)
        super().__init__(pairs, self.coulomb)

    def bind(self, structures: Structures, lists: NeighbourLists) -> Bound:
        """See :meth:`matterscape.potentials.base.Potential.bind`."""
        self.check(structures)
        parameters = self.coulomb.bound_parameters(structures)
        if parameters.method == "direct":
            return super().bind(structures, lists)
        fused = self.pairs.with_coulomb(self.coulomb.charges, alpha=parameters.alpha, cutoff=parameters.cutoff)
        return BoundTerms([fused.bind(structures, lists), BoundReciprocal(self.coulomb, structures, parameters)])

    def __str__(self) -> str:
        return f"{self.pairs} with charges"


def alkali_halide(salt: str, *, cutoff: float = 9.0, **options: Any) -> Ionic:
    """The complete Born-Mayer-Huggins-Fumi-Tosi potential of an alkali halide.

    Parameters
    ----------
    salt : str
        E.g. ``"NaCl"``, see :func:`matterscape.potentials.alkali_halides.fumi_tosi`.
    cutoff : float
        Of the short-ranged part in Å.
    **options
        As of :class:`Coulomb`; a cell with ions missing needs ``net_charge="background"``.

    Raises
    ------
    ValueError
        If the salt is not in the table.
    """
    return Ionic(alkali_halides.fumi_tosi(salt, cutoff=cutoff), **options)
