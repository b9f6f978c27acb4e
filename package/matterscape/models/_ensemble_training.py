"""What an ensemble potential is trained on: descriptors computed once, forces through a graph kept for all epochs.

The network works on descriptors x, and the forces are a fixed linear map of dE/dx: the derivative of the descriptors.
The graph of this map is recorded once for every batch of structures, so that an epoch costs the network and the map,
but neither neighbour search nor density expansion.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from matterscape.checks import is_number, real_array
from matterscape.kernels import parameters_only
from matterscape.models.network import shuffled_batches
from matterscape.progress import progress
from matterscape.structures import Pairs, Structures
from matterscape.uq.arrays import as_array, target_vector
from matterscape.uq.ensembles import ShallowEnsemble, mean_and_variance
from matterscape.uq.losses import gaussian_negative_log_likelihood, gaussian_ranked_probability

if TYPE_CHECKING:
    from matterscape.models.ensemble_potential import EnsemblePotential

LOSSES = ("likelihood", "ranked probability", "squared")
# of a Gaussian with the mean and variance of the targets, in units of their standard deviation
STARTING_LOSS = {"likelihood": 1.4189385332046727, "ranked probability": 0.5641895835477563, "squared": 1.0}


ATOMS_IN_BLOCK = 4096  # whose descriptors are computed at once


@dataclass(frozen=True)
class Labelled:
    """Structures with their energies (B,) and, perhaps, forces (n_atoms, 3), both float64."""

    structures: Structures
    energies: np.ndarray
    forces: np.ndarray | None

    @classmethod
    def checked(cls, structures: Any, energies: Any, forces: Any = None, name: str = "") -> "Labelled":
        """What a user gave; ``ValueError`` or ``TypeError`` if it does not fit together.

        Parameters
        ----------
        structures : Structures, ase.Atoms or iterable of ase.Atoms
        energies : array (B,)
        forces : array (n_atoms, 3) or list of arrays, optional
        name : str
            Put before the names of energies and forces in messages.
        """
        batch = structures if isinstance(structures, Structures) else Structures.from_ase(structures)
        energies = target_vector(energies, batch.n_structures, f"{name}energies")
        if forces is None:
            return cls(batch, energies, None)
        if isinstance(forces, list | tuple):
            forces = np.concatenate([as_array(part) for part in forces])
        forces = real_array(f"{name}forces", as_array(forces))
        if forces.shape != (batch.n_atoms, 3):
            raise ValueError(f"{name}forces has shape {forces.shape}; accepted is ({batch.n_atoms}, 3), a row per atom")
        finite = np.isfinite(forces).all(axis=1)
        if not finite.all():
            atom = int(np.argmin(finite))
            raise ValueError(f"{name}forces of atom {atom} are {forces[atom]}; accepted are finite numbers of eV/Å")
        return cls(batch, energies, forces)

    def __getitem__(self, index: np.ndarray) -> "Labelled":
        forces = self.forces
        if forces is not None:
            offsets = self.structures.offsets.numpy()
            forces = np.concatenate([forces[offsets[i] : offsets[i + 1]] for i in index])
        return Labelled(self.structures[index], self.energies[index], forces)

    def scaled(self, baseline: np.ndarray, unit: float) -> "Labelled":
        """Energies less those of the baseline, and forces, in another unit of energy."""
        forces = None if self.forces is None else self.forces / unit
        return Labelled(self.structures, (self.energies - baseline) / unit, forces)

    def split(self, validation: float | tuple, seed: int) -> tuple["Labelled", "Labelled"]:
        """Structures to train on and to validate with; see :meth:`EnsemblePotential.fit`."""
        if isinstance(validation, tuple):
            wanted = ("structures", "energies") if self.forces is None else ("structures", "energies", "forces")
            if len(validation) != len(wanted):
                raise ValueError(
                    f"validation has {len(validation)} entries; accepted is a tuple of {', '.join(wanted)}"
                )
            return self, Labelled.checked(*validation, name="validation ")
        n_structures = len(self.energies)
        if not is_number(validation) or not 0 < validation < 1 or n_structures < 2:
            raise ValueError(
                f"validation is {validation!r} with {n_structures} structures; accepted are a fraction between 0 and 1 "
                "of at least 2 structures, or a tuple of structures, energies and, if there are any, forces"
            )
        order = np.random.default_rng(seed).permutation(n_structures)
        n_held_out = min(max(1, round(validation * n_structures)), n_structures - 1)
        return self[np.sort(order[n_held_out:])], self[np.sort(order[:n_held_out])]


def fitted_baseline(labelled: Labelled, kinds: Tensor, n_species: int) -> np.ndarray:
    """Energies (n_species,) of the species that fit the energies per atom best; the smallest, where there is a choice.

    Parameters
    ----------
    labelled : Labelled
    kinds : tensor (n_atoms,), int64
    n_species : int
    """
    composition = np.zeros((len(labelled.energies), n_species))
    np.add.at(composition, (labelled.structures.structure_index.numpy(), kinds.numpy()), 1.0)
    counts = composition.sum(axis=1)
    return np.linalg.lstsq(composition / counts[:, None], labelled.energies / counts, rcond=1e-10)[0]


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


def with_leaf_vectors(pairs: Pairs) -> Pairs:
    """The pairs with vectors that gradients are taken with respect to."""
    return replace(pairs, vectors=pairs.vectors.detach().requires_grad_())


def on_pairs_to_forces(slopes: Tensor, pairs: Pairs, n_atoms: int) -> Tensor:
    """Forces (n_atoms, 3) from derivatives (P, 3) of the energy with respect to the vectors of the pairs."""
    return slopes.new_zeros(n_atoms, 3).index_add(0, pairs.first, slopes).index_add(0, pairs.second, -slopes)


def make_examples(potential: "EnsemblePotential", labelled: Labelled, batch_size: int, seed: int) -> list[Examples]:
    """Everything at once for training on energies; with forces, batches with the graphs that these need.

    Parameters
    ----------
    potential : EnsemblePotential
        Whose descriptors are meant.
    labelled : Labelled
        In the units of the network.
    batch_size : int
    seed : int
        Of the batches.
    """
    if labelled.forces is None:
        with torch.no_grad():
            blocks = progress(list(labelled.structures.split(ATOMS_IN_BLOCK)), "descriptors")
            rows = torch.cat([potential.descriptors(block) for block in blocks])
        return [_one_example(potential, labelled, rows)]
    order = np.random.default_rng(seed).permutation(len(labelled.energies))
    examples = []
    for start in progress(range(0, len(order), batch_size), "descriptors"):
        part = labelled[order[start : start + batch_size]]
        pairs = with_leaf_vectors(part.structures.pairs(potential.cutoff))
        with torch.enable_grad():
            described = potential.descriptors(part.structures, pairs)
        examples.append(_one_example(potential, part, described.detach(), (described, pairs)))
    return examples


def _one_example(
    potential: "EnsemblePotential", labelled: Labelled, rows: Tensor, graph: tuple[Tensor, Pairs] | None = None
) -> Examples:
    structures = labelled.structures
    return Examples(
        rows,
        potential.kinds(structures),
        structures.structure_index,
        structures.atoms_per_structure.to(rows),
        torch.from_numpy(labelled.energies).to(rows),
        None if graph is None else torch.from_numpy(labelled.forces).to(rows),
        graph,
    )


def mean_loss(network: ShallowEnsemble, examples: Sequence[Examples], loss: str, force_weight: float) -> float:
    """Loss per structure, of all of them."""
    total = sum(float(batch.losses(network, loss, force_weight).detach().sum()) for batch in examples)
    return total / sum(map(len, examples))


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
