"""N-body correlations of a density by iterative contraction (NICE)."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from matterscape.checks import check_whole
from matterscape.descriptors.contraction import (
    Contraction,
    EquivariantPCA,
    ProductGroup,
    best_products,
    check_budget,
    check_method,
    contracted,
    covariance,
    grouped_products,
    groups_by_block,
    kept_pairs,
)
from matterscape.descriptors.equivariants import Equivariants, Key, sorted_keys

#: Penalty of the regression that purification takes off, relative to the largest variance of the lower orders.
PURIFICATION_PENALTY = 1e-10
#: A block whose variance is below this fraction of the largest of its order is rounding.
EMPTY_BLOCK = 1e-28


@dataclass(frozen=True)
class _Block:
    """How one block of an order is made: products, less what lower orders explain, times weights."""

    angular: int
    groups: list[ProductGroup]
    weights: torch.Tensor | None  # (products, kept); None where every product is kept
    lower: torch.Tensor | None  # (channels of the lower orders, kept)

    def __call__(self, first: Equivariants, density: Equivariants, lower: torch.Tensor | None) -> torch.Tensor:
        block = grouped_products(first, density, self.groups, self.angular)
        if self.weights is not None:
            block = block @ self.weights.to(block)
        return block if self.lower is None else block - lower @ self.lower.to(block)


@dataclass(frozen=True)
class _Step:
    """One order of correlations: the equivariants that the next order needs, and the invariants for models."""

    blocks: dict[Key, _Block]
    invariants: _Block | None


class NICE:
    r"""Hierarchy of N-body equivariants, contracted at every step.

    From equivariants :math:`A^{\nu}` of order nu and the density :math:`A^1`, order nu + 1 are the products

    .. math:: A^{\nu+1}_{(\sigma\lambda); Qq} = \sum_{m_1 m_2} C^{\lambda\mu}_{k m_1 l m_2}\,
              A^{\nu, m_1}_{(s k); Q} A^{1, m_2}_{(1 l); q}

    of which only those with the largest product of importances are computed, and of these, block by block, only the
    principal components are kept. Invariants of each order, for models, are screened apart and are not combined. The
    transformation is a polynomial of the density: differentiable, and zero for an atom without neighbours.

    Parameters
    ----------
    max_order : int
        Largest order nu, from 1 on; order nu describes nu + 1 bodies.
    max_angular : int
        Largest degree of the density, and of everything else.
    n_components : int, optional
        Channels that are kept in each block (sigma, lambda) of each order; all that are independent if not given.
    n_expand : int, optional
        Products of channels that are computed at each step, for each sigma of the first factor.
    n_invariants : int, optional
        Invariants of each order from 2 on.
    purify : bool
        Whether what lower orders explain linearly is taken off each order before it is contracted.
    method : "pca" or "cur"
        Keep principal components or single products, see :mod:`matterscape.descriptors.contraction`.
    batch_size : int
        Environments at once, which bounds the memory.

    Attributes
    ----------
    importances : list of dict (int, int) to tensor (kept,)
        Of each order that is carried on, 1 to ``max_order - 1``, and each block: root mean square amplitudes, in
        the order of the channels.
    spectra : list of dict (int, int) to tensor (products,)
        Variances along all combinations, falling.
    discarded_variance : list of dict (int, int) to float
        Fraction of the variance of each block that is left out.

    Raises
    ------
    ValueError
        If a parameter is outside its range.

    References
    ----------
    Nigam, Pozdnyakov, Ceriotti, J. Chem. Phys. 153, 121101 (2020).
    """

    def __init__(
        self,
        max_order: int,
        max_angular: int,
        n_components: int | None = None,
        n_expand: int | None = None,
        n_invariants: int | None = None,
        *,
        purify: bool = False,
        method: str = "pca",
        batch_size: int = 500,
    ):
        check_whole("max_order", max_order, 1)
        check_whole("max_angular", max_angular, 0)
        for name, value in (("n_components", n_components), ("n_expand", n_expand), ("n_invariants", n_invariants)):
            check_budget(name, value)
        check_method(method)
        check_whole("batch_size", batch_size, 1)
        self.max_order, self.max_angular = int(max_order), int(max_angular)
        self.n_components, self.n_expand, self.n_invariants = n_components, n_expand, n_invariants
        self.purify, self.method, self.batch_size = bool(purify), method, int(batch_size)
        self.importances: list[dict[Key, torch.Tensor]] = []
        self.spectra: list[dict[Key, torch.Tensor]] = []
        self.discarded_variance: list[dict[Key, float]] = []
        self._density: dict[Key, torch.Tensor] = {}
        self._steps: list[_Step] = []

    # ---- fit -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit(self, density: torch.Tensor | Equivariants) -> "NICE":
        """Choose products and components from sample environments.

        Parameters
        ----------
        density : tensor (samples, (max_angular + 1)^2, channels) or Equivariants
            As from :class:`matterscape.descriptors.SphericalExpansion`. Environments to train on; never those to test
            on.

        Returns
        -------
        NICE
            The descriptor itself.

        Raises
        ------
        KeyError
            If the density lacks a degree.
        ValueError
            If its shape is another one, it is empty or zero, or more components are asked for than the samples can
            tell apart.
        """
        raw = self._degrees(density)
        if raw.n_samples == 0 or not bool(raw.packed.isfinite().all()):
            raise ValueError(f"density has {raw.n_samples} samples; accepted are some, all of them finite")
        if not bool(raw.packed.any()):
            raise ValueError("density is zero for all samples; accepted is at least one atom with neighbours")
        self.importances, self.spectra, self.discarded_variance, self._steps = [], [], [], []
        first = EquivariantPCA(self.n_components, self.method).fit(raw)
        self._keep(first.contractions)
        self._density = {key: contraction.weights for key, contraction in first.contractions.items()}
        features = [first.transform(raw)]
        invariants = [features[0].invariants()]
        for order in range(2, self.max_order + 1):
            of_order = self._fitted_invariants(features, invariants)
            blocks = self._fitted_blocks(features) if order < self.max_order else {}
            step = _Step(blocks, of_order)
            self._steps.append(step)
            made = [self._next(step, *batch) for batch in self._batches(features, invariants)]
            invariants.append(torch.cat([of_batch for _, of_batch in made]))
            if blocks:
                features.append(
                    Equivariants({key: torch.cat([batch[key] for batch, _ in made]) for key in sorted_keys(blocks)})
                )
        return self

    def _keep(self, contractions: Mapping[Key, Contraction]) -> None:
        self.importances.append({key: c.importances for key, c in contractions.items() if len(c.importances)})
        self.spectra.append({key: c.spectrum for key, c in contractions.items()})
        self.discarded_variance.append({key: c.discarded for key, c in contractions.items()})

    def _fitted_blocks(self, features: list[Equivariants]) -> dict[Key, _Block]:
        """Blocks of the next order; those that hold nothing but rounding are left out."""
        groups = [
            group
            for sigma in (1, -1)
            for group in best_products(
                self.importances[-1], self.importances[0], self.n_expand, sigma, symmetric=len(features) == 1
            )
        ]
        by_block = groups_by_block(groups, self.max_angular)
        found, contractions = {}, {}
        for key in sorted_keys(by_block):
            block, matrix = self._purified(key, by_block[key], features)
            kept = contracted(matrix, self.n_components, self.method, key, features[0].n_samples)
            found[key], contractions[key] = block, kept
        largest = max(float(kept.spectrum[0]) for kept in contractions.values())
        contractions = {
            key: kept for key, kept in contractions.items() if float(kept.spectrum[0]) > EMPTY_BLOCK * largest
        }
        self._keep(contractions)
        return {key: self._contracted_block(found[key], kept) for key, kept in contractions.items()}

    def _purified(
        self, key: Key, groups: list[ProductGroup], features: list[Equivariants]
    ) -> tuple[_Block, torch.Tensor]:
        """Products of one block, less what lower orders explain, and the covariance of what remains."""
        block = _Block(key[1], groups, None, None)

        def batches(block: _Block) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
            for samples in self._slices(features[0].n_samples):
                parts = [part.take(samples) for part in features]
                lower = self._lower_block(key, parts)
                yield block(parts[-1], parts[0], lower), lower

        if self.purify and any(key in part for part in features):
            block = _Block(key[1], groups, None, _regression(batches(block)))
        return block, covariance(made for made, _ in batches(block)).cpu()

    def _contracted_block(self, block: _Block, kept: Contraction) -> _Block:
        lower = None if block.lower is None else block.lower @ kept.weights.to(block.lower)
        if self.method == "pca":
            return _Block(block.angular, block.groups, kept.weights, lower)
        return _Block(block.angular, kept_pairs(block.groups, kept.chosen), None, lower)

    def _fitted_invariants(self, features: list[Equivariants], invariants: list[torch.Tensor]) -> _Block:
        groups = best_products(
            self.importances[-1],
            self.importances[0],
            self.n_invariants,
            1,
            invariants=True,
            symmetric=len(features) == 1,
        )
        block = _Block(0, groups, None, None)
        if not self.purify:
            return block
        made = (
            (block(parts[-1], parts[0], None), torch.cat(lower, dim=1)[:, None])
            for parts, lower in self._batches(features, invariants)
        )
        return _Block(0, groups, None, _regression(made))

    # ---- evaluation ------------------------------------------------------------------------------------------------

    def transform(
        self, density: torch.Tensor | Equivariants, return_equivariants: bool = False
    ) -> list[torch.Tensor] | tuple[list[torch.Tensor], list[Equivariants]]:
        """Invariants of every order.

        Parameters
        ----------
        density : tensor (samples, (max_angular + 1)^2, channels) or Equivariants
            With the channels that the descriptor was fitted to.
        return_equivariants : bool
            Whether the equivariants are returned too, of the orders 1 to ``max_order - 1`` that the recursion carries.

        Returns
        -------
        list of tensor (samples, invariants)
            Orders 1 to ``max_order``; differentiable in the density.
        list of Equivariants
            If asked for.

        Raises
        ------
        KeyError, ValueError
            If the density is not of the kind that was fitted, or nothing was.
        """
        if not self._density:
            raise ValueError("density can't be transformed; accepted is a call of fit before")
        raw = self._degrees(density)
        for key, weights in self._density.items():
            if raw.channels[key] != len(weights):
                raise ValueError(
                    f"density has {raw.channels[key]} channels of l = {key[1]}; "
                    f"accepted are {len(weights)}, as in the fit"
                )
        made = [self._evaluated(raw.take(samples)) for samples in self._slices(raw.n_samples)]
        invariants = [torch.cat(parts) for parts in zip(*(one for one, _ in made))]
        if not return_equivariants:
            return invariants
        orders = zip(*(features for _, features in made))
        return invariants, [
            Equivariants({key: torch.cat([part[key] for part in parts]) for key in parts[0]}) for parts in orders
        ]

    def _evaluated(self, raw: Equivariants) -> tuple[list[torch.Tensor], list[Equivariants]]:
        features = [raw.mixed({key: w.to(raw[key]) for key, w in self._density.items() if w.shape[1]})]
        invariants = [features[0].invariants()]
        for step in self._steps:
            blocks, of_step = self._next(step, features, invariants)
            invariants.append(of_step)
            if blocks:
                features.append(Equivariants(blocks))
        return invariants, features[: max(self.max_order - 1, 1)]

    def _next(
        self, step: _Step, features: Sequence[Equivariants], invariants: Sequence[torch.Tensor]
    ) -> tuple[dict[Key, torch.Tensor], torch.Tensor]:
        """Equivariants and invariants of the order after the last of these."""
        blocks = {
            key: block(features[-1], features[0], None if block.lower is None else self._lower_block(key, features))
            for key, block in step.blocks.items()
        }
        if not step.invariants.groups:
            return blocks, invariants[0][:, :0]
        lower = None if step.invariants.lower is None else torch.cat(list(invariants), dim=1)[:, None]
        return blocks, step.invariants(features[-1], features[0], lower)[:, 0]

    @staticmethod
    def _lower_block(key: Key, features: Sequence[Equivariants]) -> torch.Tensor | None:
        """Channels of one block of all these orders."""
        found = [part[key] for part in features if key in part]
        return torch.cat(found, dim=2) if found else None

    def _slices(self, n_samples: int) -> Iterator[slice]:
        for start in range(0, max(n_samples, 1), self.batch_size):
            yield slice(start, start + self.batch_size)

    def _batches(
        self, features: list[Equivariants], invariants: list[torch.Tensor]
    ) -> Iterator[tuple[list[Equivariants], list[torch.Tensor]]]:
        for samples in self._slices(features[0].n_samples):
            yield [part.take(samples) for part in features], [part[samples] for part in invariants]

    def _degrees(self, density: torch.Tensor | Equivariants) -> Equivariants:
        """Blocks (1, 0) to (1, max_angular) of a density."""
        if isinstance(density, Equivariants):
            return density.restricted([(1, l) for l in range(self.max_angular + 1)])
        made = Equivariants.from_density(density)
        if made.max_angular != self.max_angular:
            raise ValueError(
                f"density has degrees up to {made.max_angular}; accepted is max_angular {self.max_angular}"
            )
        return made

    # ---- files -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that :meth:`transform` needs, as plain arrays (settings and structure as one JSON string).

        Returns
        -------
        dict of str to array
            Which ``numpy.savez`` can write and ``numpy.load`` read without pickle.
        """
        if not self._density:
            raise ValueError("the descriptor has no state yet; accepted is a call of fit before")
        arrays: dict[str, np.ndarray] = {}
        for (_, l), weights in self._density.items():
            arrays[f"density/{l}"] = weights.numpy()
        for number, step in enumerate(self._steps):
            for key, block in [*step.blocks.items(), (None, step.invariants)]:
                name = f"step/{number}/{_name(key)}"
                arrays |= {
                    f"{name}/pairs/{_name(g.key)}/{g.angular}": g.pairs.numpy() for g in block.groups
                }  # in this order
                for part in ("weights", "lower"):
                    if getattr(block, part) is not None:
                        arrays[f"{name}/{part}"] = getattr(block, part).cpu().numpy()
        for record in ("importances", "spectra", "discarded_variance"):
            for order, by_key in enumerate(getattr(self, record)):
                arrays |= {f"{record}/{order}/{_name(key)}": np.asarray(value) for key, value in by_key.items()}
        settings = {
            name: getattr(self, name)
            for name in ("max_order", "max_angular", "n_components", "n_expand", "n_invariants", "purify", "method")
        }
        return {"settings": np.array(json.dumps(settings | {"batch_size": self.batch_size})), **arrays}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, np.ndarray]) -> "NICE":
        """Fitted descriptor from the arrays of :meth:`state_dict`.

        Raises
        ------
        ValueError
            If it is the state of something else.
        """
        if "settings" not in state or "density/0" not in state:
            raise ValueError(f"state has the entries {sorted(state)[:5]}; accepted is that of a fitted NICE")
        made = cls(**json.loads(str(state["settings"])))
        made._density = {(1, l): torch.from_numpy(state[f"density/{l}"]) for l in range(made.max_angular + 1)}
        parts = [(name.split("/"), values) for name, values in state.items()]
        for number in range(made.max_order - 1):
            own: dict[str, dict[str, list]] = {}
            for path, values in parts:
                if path[:2] == ["step", str(number)]:
                    own.setdefault(path[2], {}).setdefault(path[3], []).append((path[4:], torch.from_numpy(values)))
            blocks = {None if name == "invariants" else _key(name): _read_block(name, own[name]) for name in own}
            invariants = blocks.pop(None, _Block(0, [], None, None))
            made._steps.append(_Step(blocks, invariants))
        readers: dict[str, Callable] = {
            "importances": torch.from_numpy,
            "spectra": torch.from_numpy,
            "discarded_variance": float,
        }
        for record, read in readers.items():
            orders: list[dict] = [{} for _ in range(max(made.max_order - 1, 1))]
            for path, values in parts:
                if path[0] == record:
                    orders[int(path[1])][_key(path[2])] = read(values)
            setattr(made, record, orders)
        return made


def _regression(batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Ridge coefficients (lower channels, channels) of blocks on those of lower orders, shared by all components."""
    squares, products = 0.0, 0.0
    for block, lower in batches:
        flat = lower.flatten(0, 1)
        squares, products = squares + flat.T @ flat, products + flat.T @ block.flatten(0, 1)
    penalty = PURIFICATION_PENALTY * torch.linalg.matrix_norm(squares, 2)
    identity = torch.eye(len(squares)).to(squares)
    return torch.linalg.solve(squares + penalty * identity, products)


def _name(key: Key | None) -> str:
    return "invariants" if key is None else f"{key[0]:+d},{key[1]}"


def _key(name: str) -> Key:
    sigma, l = name.split(",")
    return int(sigma), int(l)


def _read_block(name: str, parts: Mapping[str, list]) -> _Block:
    groups = [ProductGroup(_key(path[0]), int(path[1]), pairs) for path, pairs in parts.get("pairs", [])]
    matrices = [parts[part][0][1] if part in parts else None for part in ("weights", "lower")]
    return _Block(0 if name == "invariants" else _key(name)[1], groups, *matrices)
