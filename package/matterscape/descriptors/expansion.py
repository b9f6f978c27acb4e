"""Spherical expansion of the neighbour density."""

import math
from collections.abc import Callable, Iterator, Sequence
from numbers import Real

import numpy as np
import torch

from matterscape.basis import GaussianTypeOrbitals, RadialBasis, ShiftedCosine, centre_overlap, radial_integrals
from matterscape.descriptors._density_operators import density_expansion, density_push_forward
from matterscape.structures import Pairs, Structures
from matterscape.structures.validation import MAX_ATOMIC_NUMBER

MAX_ANGULAR = 20


class SphericalExpansion:
    r"""Expansion coefficients of the density around every atom in radial functions and spherical harmonics.

    .. math:: c_i^{anlm} = \sum_{j \in a, j \neq i} f_c(r_{ij}) s(r_{ij}) R_{nl}(r_{ij}) Y_{lm}(\hat r_{ij})
              + \delta_{a a_i} \delta_{l0} w\, R_{n0}(0) Y_{00}

    with R_nl the overlap of a radial function with a Gaussian at distance r (or the radial function itself for a sharp
    density), f_c a cut-off function, s an optional radial scaling and w the weight of the central atom.

    Parameters
    ----------
    species : sequence of int
        Atomic numbers that may occur, as centres or neighbours; one density channel each, ascending.
    cutoff : float
        Radius of the environment in Å.
    max_radial : int
        Number of radial functions, n = 0 to ``max_radial`` - 1.
    max_angular : int
        Largest l, 0 to 20.
    smearing : float or None
        Width of the Gaussian on every atom in Å; None for a sharp density.
    radial_basis : RadialBasis, optional
        Orthonormalised Gaussian type orbitals if not given.
    cutoff_function : callable, optional
        Maps distances to factors; ``ShiftedCosine(cutoff, width=0.5)`` if not given.
    radial_scaling : callable, optional
        Maps distances to factors, e.g. :class:`matterscape.basis.RadialScaling`.
    centre_weight : float
        Weight of the central atom's own density.
    species_channels : array (n_species, n_channels), optional
        Pseudo-species: channel c is the sum of the species' densities with these weights
        (Willatt, Musil, Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018)).

    Raises
    ------
    ValueError, TypeError
        If a parameter is outside its range; the message names it.

    References
    ----------
    Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013); Musil et al., J. Chem. Phys. 154, 114109 (2021).
    """

    def __init__(
        self,
        species: Sequence[int],
        *,
        cutoff: float = 5.0,
        max_radial: int = 8,
        max_angular: int = 6,
        smearing: float | None = 0.3,
        radial_basis: RadialBasis | None = None,
        cutoff_function: Callable[[torch.Tensor], torch.Tensor] | None = None,
        radial_scaling: Callable[[torch.Tensor], torch.Tensor] | None = None,
        centre_weight: float = 1.0,
        species_channels: np.ndarray | torch.Tensor | None = None,
    ):
        self.species = _checked_species(species)
        self.cutoff = _checked_number("cutoff", cutoff, low=0.0)
        self.max_radial = _checked_count("max_radial", max_radial, 1, 50)
        self.max_angular = _checked_count("max_angular", max_angular, 0, MAX_ANGULAR)
        self.smearing = None if smearing is None else _checked_number("smearing", smearing, low=0.0)
        if not math.isfinite(centre_weight):
            raise ValueError(f"centre_weight is {centre_weight!r}; accepted is a finite number")
        self.centre_weight = float(centre_weight)
        self.radial_basis = radial_basis or GaussianTypeOrbitals(self.max_radial, self.cutoff)
        basis = self.radial_basis
        if (basis.max_radial, basis.cutoff) != (self.max_radial, self.cutoff):
            raise ValueError(
                f"radial_basis has max_radial {basis.max_radial} and cutoff {basis.cutoff:g} Å; "
                f"here they are {self.max_radial} and {self.cutoff:g} Å"
            )
        self.cutoff_function = cutoff_function or ShiftedCosine(self.cutoff, min(0.5, self.cutoff))
        self.radial_scaling = radial_scaling
        self.species_channels = _checked_channels(species_channels, len(self.species))
        self.spline = radial_integrals(self.radial_basis, self.max_angular, self.smearing)
        self._centre = torch.as_tensor(centre_overlap(self.radial_basis, self.smearing))
        self._table = torch.as_tensor(self.spline.coefficients)
        self._number_to_channel = torch.full((MAX_ATOMIC_NUMBER + 1,), -1)
        self._number_to_channel[list(self.species)] = torch.arange(len(self.species))

    @property
    def n_channels(self) -> int:
        """Number of (species, radial) channels of a density."""
        blocks = len(self.species) if self.species_channels is None else self.species_channels.shape[1]
        return blocks * self.max_radial

    @property
    def channels(self) -> np.ndarray:
        """Label of every channel: structured array with fields ``species`` (or ``channel``) and ``n``."""
        if self.species_channels is None:
            name, blocks = "species", np.array(self.species)
        else:
            name, blocks = "channel", np.arange(self.species_channels.shape[1])
        labels = np.empty(self.n_channels, dtype=[(name, np.int64), ("n", np.int64)])
        labels[name] = np.repeat(blocks, self.max_radial)
        labels["n"] = np.tile(np.arange(self.max_radial), len(blocks))
        return labels

    @property
    def components(self) -> np.ndarray:
        """Label of every row (l, m) of a density: structured array with fields ``l`` and ``m``."""
        labels = [(l, m) for l in range(self.max_angular + 1) for m in range(-l, l + 1)]
        return np.array(labels, dtype=[("l", np.int64), ("m", np.int64)])

    def __call__(self, structures: Structures, pairs: Pairs | None = None) -> torch.Tensor:
        """Densities (n_atoms, (max_angular + 1)^2, n_channels), differentiable in positions and strain.

        Parameters
        ----------
        structures : Structures
        pairs : Pairs, optional
            The neighbours within the cutoff, where they are known already; the densities are differentiable in their
            vectors. Found anew if not given.

        Raises
        ------
        ValueError
            If a species occurs that the descriptor was not made for, or the pairs do not fit into memory.
        """
        centres = self._species_index(structures)
        pairs = structures.pairs(self.cutoff) if pairs is None else pairs
        density = density_expansion(
            pairs.vectors, self._weights(pairs.vectors), *self._fixed(centres, pairs.second, pairs.offsets, structures)
        )
        return self._mixed(self._with_centres(density, centres))

    def pair_derivatives(
        self, structures: Structures, max_pairs: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Derivatives of the first atom's density with respect to each pair vector, a block of pairs at a time.

        Yields
        ------
        tuple of tensors
            First atoms (p,), second atoms (p,), derivatives (3, p, (max_angular + 1)^2, n_channels).
        """
        centres = self._species_index(structures)
        pairs = structures.pairs(self.cutoff)
        for start in range(0, len(pairs), max_pairs):
            block = slice(start, start + max_pairs)
            with torch.enable_grad():
                vectors = pairs.vectors[block].detach().requires_grad_()
                weights = self._weights(vectors)
                (slopes,) = torch.autograd.grad(weights.sum(), vectors)
            second = pairs.second[block]
            alone = torch.arange(len(second) + 1, device=second.device)  # every pair is an atom of its own
            fixed = self._fixed(centres, second, alone, structures)
            directions = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
            derivatives = [
                self._mixed(
                    density_push_forward(
                        directions[x].expand_as(vectors), slopes[:, x], vectors.detach(), weights.detach(), *fixed
                    )
                )
                for x in range(3)
            ]
            yield pairs.first[block], second, torch.stack(derivatives)

    def _species_index(self, structures: Structures) -> torch.Tensor:
        index = self._number_to_channel.to(structures.species.device)[structures.species]
        if bool((index < 0).any()):
            atom = int((index < 0).nonzero()[0])
            number, structure = int(structures.species[atom]), int(structures.structure_index[atom])
            raise ValueError(
                f"species {number} of structure {structure} is unknown to this descriptor; "
                f"accepted are {list(self.species)}"
            )
        return index

    def _weights(self, vectors: torch.Tensor) -> torch.Tensor:
        distances = vectors.norm(dim=1)
        weights = self.cutoff_function(distances)
        return weights if self.radial_scaling is None else weights * self.radial_scaling(distances)

    def _fixed(
        self, centres: torch.Tensor, second: torch.Tensor, offsets: torch.Tensor, structures: Structures
    ) -> tuple[torch.Tensor | float | int, ...]:
        """The arguments of the density operators that no gradient goes to."""
        table = self._table.to(structures.positions)
        return centres[second], offsets, table, self.spline.inverse_step, self.max_angular, len(self.species)

    def _with_centres(self, density: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
        if self.centre_weight == 0:
            return density
        own = torch.nn.functional.one_hot(centres, len(self.species)).to(density.dtype)
        own = own[:, :, None] * (self.centre_weight * self._centre.to(density))
        shift = torch.zeros_like(density[:, :1]) + own.reshape(len(density), 1, -1)
        return torch.cat([density[:, :1] + shift, density[:, 1:]], dim=1)

    def _mixed(self, density: torch.Tensor) -> torch.Tensor:
        if self.species_channels is None:
            return density
        split = density.unflatten(2, (len(self.species), self.max_radial))
        return torch.einsum("nmar,ac->nmcr", split, self.species_channels.to(density)).flatten(2)


def _checked_species(species: Sequence[int]) -> tuple[int, ...]:
    try:
        numbers = tuple(sorted({int(number) for number in species if int(number) == number}))
        valid = len(numbers) == len(set(species)) and numbers and 1 <= numbers[0] and numbers[-1] <= MAX_ATOMIC_NUMBER
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(
            f"species is {species!r}; accepted is at least one atomic number from 1 to {MAX_ATOMIC_NUMBER}"
        )
    return numbers


def _checked_number(name: str, value: float, low: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value <= low:
        raise ValueError(f"{name} is {value!r}; accepted is a finite number greater than {low:g}")
    return float(value)


def _checked_count(name: str, value: int, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; accepted is a whole number from {low} to {high}")
    return int(value)


def _checked_channels(channels: np.ndarray | torch.Tensor | None, n_species: int) -> torch.Tensor | None:
    if channels is None:
        return None
    channels = torch.as_tensor(channels)
    if channels.ndim != 2 or channels.shape[0] != n_species or channels.shape[1] == 0:
        raise ValueError(
            f"species_channels has shape {tuple(channels.shape)}; accepted is ({n_species}, n_channels), "
            "a row per species"
        )
    if not bool(torch.isfinite(channels).all()):
        raise ValueError("species_channels has values that are not finite; accepted are finite weights")
    return channels.detach()
