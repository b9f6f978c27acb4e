"""Interatomic potential with a committee of last layers on one network, so that every prediction has members.

The energy of member k is E_k = sum_i [b_a(i) + w_k . h_a(i)(x_i) + c_k]: descriptors x_i of the environment of atom i
(SOAP radial and power spectrum, standardised), a network h for each species a, one linear last layer per member, and a
baseline b that belongs to every member. The potential itself is the mean of the members, their spread its uncertainty.
Source: M. Kellner, M. Ceriotti, Mach. Learn.: Sci. Technol. 5, 035006 (2024).
"""

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor

from matterscape.basis import SmoothPolynomial
from matterscape.checks import check_number, check_whole, real_array
from matterscape.descriptors import PowerSpectrum, RadialSpectrum
from matterscape.models._ensemble_training import (
    ATOMS_IN_BLOCK,
    LOSSES,
    STARTING_LOSS,
    Labelled,
    batches_of_epochs,
    fitted_baseline,
    make_examples,
    mean_loss,
    on_pairs_to_forces,
    with_leaf_vectors,
)
from matterscape.models._species_networks import SpeciesBodies, in_dtype
from matterscape.models.files import ArrayFile
from matterscape.models.network import TrainingHistory, layer_widths, train
from matterscape.potentials.base import Bound, Evaluation, Potential
from matterscape.structures import NeighbourLists, Pairs, Structures
from matterscape.uq.calibration import ensemble_variance_scale
from matterscape.uq.derivatives import member_gradients
from matterscape.uq.ensembles import ShallowEnsemble
from matterscape.uq.last_layer import LastLayerEnsemble


class EnsemblePotential(Potential, ArrayFile):
    """Potential from a network on SOAP features, with an ensemble of last layers.

    Its energies, forces and flux tensors are those of the mean of the members. Before :meth:`fit` the weights are
    random.

    Parameters
    ----------
    species : sequence of int or str
        Atomic numbers or chemical symbols that may occur.
    cutoff : float
        Radius of the environments in Å.
    cutoff_width : float
        Over how many Å neighbours fade out before the cutoff, with two continuous derivatives.
    radial_functions : int
        Functions of the radial spectrum, per species.
    max_radial, max_angular : int
        Radial functions and largest l of the power spectrum.
    smearing : float or None
        Width of the atoms' densities in Å; None for a sharp density.
    species_channels : array (n_species, n_channels), optional
        Pseudo-species of the power spectrum, see :class:`~matterscape.descriptors.SphericalExpansion`. The radial
        spectrum keeps the species apart.
    hidden : sequence of int
        Widths of the hidden layers of each species' network; the last one is the number of last-layer features.
    n_members : int
        At least 2.
    seed : int
        Of the first weights.

    Attributes
    ----------
    network : ShallowEnsemble
        Maps descriptors and species to the energies of the members without baseline, in eV.
    baseline : array (n_species,)
        Energy of an atom of each species in eV, part of every member.

    Raises
    ------
    ValueError
        If a parameter is outside its range.

    References
    ----------
    Kellner, Ceriotti, Mach. Learn.: Sci. Technol. 5, 035006 (2024); the descriptors: Bartók, Kondor, Csányi, Phys. Rev.
    B 87, 184115 (2013).
    """

    def __init__(
        self,
        species: Sequence[int | str],
        *,
        cutoff: float = 4.3,
        cutoff_width: float = 1.5,
        radial_functions: int = 14,
        max_radial: int = 5,
        max_angular: int = 4,
        smearing: float | None = 0.3,
        species_channels: np.ndarray | None = None,
        hidden: Sequence[int] = (32, 32),
        n_members: int = 32,
        seed: int = 0,
    ):
        check_number("cutoff_width", cutoff_width, "Å", positive=True)
        check_number("cutoff", cutoff, "Å", positive=True)
        hidden = layer_widths("hidden", hidden)
        if not hidden:
            raise ValueError("hidden is empty; accepted is the width of at least one hidden layer")
        check_whole("n_members", n_members, 2, "number of members, whose spread is the uncertainty")
        check_whole("seed", seed, 0)
        expansion = {
            "cutoff": cutoff,
            "smearing": smearing,
            "cutoff_function": SmoothPolynomial(cutoff, cutoff_width),
            "centre_weight": 0.0,  # every species has a network of its own
        }
        if species_channels is not None:
            species_channels = real_array("species_channels", species_channels)
        numbers = _atomic_numbers(species)
        self.radial = RadialSpectrum(numbers, max_radial=radial_functions, **expansion)
        self.angular = PowerSpectrum(
            numbers, max_radial=max_radial, max_angular=max_angular, species_channels=species_channels, **expansion
        )
        self.species = self.angular.species
        self.settings: dict[str, Any] = {
            "species": list(self.species),
            "cutoff": float(cutoff),
            "cutoff_width": float(cutoff_width),
            "radial_functions": int(radial_functions),
            "max_radial": int(max_radial),
            "max_angular": int(max_angular),
            "smearing": None if smearing is None else float(smearing),
            "species_channels": None if species_channels is None else species_channels.tolist(),
            "hidden": list(hidden),
            "n_members": int(n_members),
            "seed": int(seed),
        }
        self.baseline = np.zeros(len(self.species))
        self.network = self._new_network(seed)
        self._history: TrainingHistory | None = None

    @property
    def cutoff(self) -> float:
        """Radius of the environments in Å."""
        return self.angular.expansion.cutoff

    @property
    def history(self) -> TrainingHistory | None:
        """How the last :meth:`fit` went; None without one, and for a potential that was loaded."""
        return self._history

    @property
    def n_members(self) -> int:
        """Number of members."""
        return self.network.n_members

    @property
    def n_descriptors(self) -> int:
        """Number of inputs of the network, per atom."""
        return self.radial.n_features + self.angular.n_features

    def last_layer(self) -> LastLayerEnsemble:
        """Last layers of all members: ``last_layer().members(last_layer_features(s)) + baseline_energies(s)`` in eV."""
        return LastLayerEnsemble.from_linear(self.network.head)

    def _new_network(self, seed: int) -> ShallowEnsemble:
        hidden = self.settings["hidden"]
        body = SpeciesBodies(len(self.species), self.n_descriptors, hidden, seed)
        network = ShallowEnsemble(body, hidden[-1], self.settings["n_members"], seed=seed)
        return network.requires_grad_(False).eval()

    # -- predictions ---------------------------------------------------------------------------------------------------

    def descriptors(self, structures: Structures, pairs: Pairs | None = None) -> Tensor:
        """Inputs of the network (n_atoms, n_descriptors): radial spectrum and power spectrum of each atom.

        Parameters
        ----------
        structures : Structures
        pairs : Pairs, optional
            The neighbours within the cutoff, where they are known already.
        """
        if pairs is None:
            self.check(structures)
            pairs = structures.pairs(self.cutoff)
        return torch.cat([self.radial(structures, pairs=pairs), self.angular(structures, pairs=pairs)], dim=1)

    def kinds(self, structures: Structures) -> Tensor:
        """Place of each atom's species in :attr:`species`, (n_atoms,) int64."""
        self.check(structures)
        known = torch.tensor(self.species, device=structures.species.device)
        return torch.searchsorted(known, structures.species)

    def baseline_energies(self, structures: Structures) -> Tensor:
        """What the baseline contributes to the energy of each structure (B,), in eV."""
        return _summed(self._baselines(structures), structures)

    def last_layer_features(self, structures: Structures, *, per: str = "structure") -> Tensor:
        """What the last layer sees: its inputs and a constant 1, which are summed over the atoms of a structure.

        Parameters
        ----------
        structures : Structures
            Differentiable, if they carry gradients.
        per : "structure" or "atom"

        Returns
        -------
        tensor (n_structures, d + 1) or (n_atoms, d + 1)
            The last column is the number of atoms, or 1.

        Raises
        ------
        ValueError
            If ``per`` is something else, or a species is unknown.
        """
        if per not in ("structure", "atom"):
            raise ValueError(f"per is {per!r}; accepted are 'structure' and 'atom'")
        self.check(structures)
        rows = []
        for block in [structures] if _differentiable(structures) else _blocks(structures, ATOMS_IN_BLOCK):
            features = self._features(block, block.pairs(self.cutoff))
            features = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
            rows.append(_summed(features, block) if per == "structure" else features)
        return torch.cat(rows)

    def member_energies(self, structures: Structures) -> Tensor:
        """Energy of each structure by each member.

        Parameters
        ----------
        structures : Structures
            Differentiable, if they carry gradients.

        Returns
        -------
        tensor (n_structures, n_members)
            In eV.
        """
        features = self.last_layer_features(structures)
        return self._members(features) + self.baseline_energies(structures)[:, None]

    def local_member_energies(self, structures: Structures) -> Tensor:
        """Contribution of each atom to the energy by each member, (n_atoms, n_members) in eV."""
        features = self.last_layer_features(structures, per="atom")
        return self._members(features) + self._baselines(structures)[:, None]

    def force_rows(self, structures: Structures) -> Tensor:
        """Minus the derivatives of the last-layer features with respect to the positions.

        Rows of a Gram matrix for training on forces, and what the variance of a force is the quadratic form of.

        Parameters
        ----------
        structures : Structures

        Returns
        -------
        tensor (3 n_atoms, d + 1)
            In 1/Å, rows (atom, x) with x innermost; row times weights is a component of a force in eV/Å.
        """
        columns = torch.eye(self.network.head.in_features, dtype=torch.float64)
        forces = self._member_derivatives(structures, columns)[0]
        rows = forces.flatten(1).T
        return torch.cat([rows, torch.zeros_like(rows[:, :1])], dim=1)

    def member_forces(self, structures: Structures) -> Tensor:
        """Forces by each member.

        They cost one backward pass through the network per last-layer feature or member, whichever is less;
        the derivatives of the descriptors are computed once.

        Parameters
        ----------
        structures : Structures

        Returns
        -------
        tensor (n_members, n_atoms, 3)
            In eV/Å.
        """
        return self._member_derivatives(structures, self.network.head.weight.T)[0]

    def member_virials(self, structures: Structures) -> Tensor:
        """Virials -dE/d(strain) by each member, (n_members, n_structures, 3, 3) in eV."""
        return self._member_derivatives(structures, self.network.head.weight.T)[1]

    def __call__(self, structures: Structures) -> Evaluation:
        self.check(structures)
        if _differentiable(structures):
            return Evaluation(*self._evaluated(structures, structures.pairs(self.cutoff), True), structures)
        parts = [
            self._evaluated(block, with_leaf_vectors(block.pairs(self.cutoff)), False)
            for block in _blocks(structures, ATOMS_IN_BLOCK)
        ]
        return Evaluation(*(torch.cat(columns).detach() for columns in zip(*parts)), structures)

    def _evaluated(self, structures: Structures, pairs: Pairs, differentiable: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Energies, forces and flux tensors of the atoms."""
        with torch.enable_grad():
            head = in_dtype(self.network, structures.positions).head
            energies = self._features(structures, pairs) @ head.weight.mean(0) + head.bias.mean()
            (slopes,) = torch.autograd.grad(energies.sum(), pairs.vectors, create_graph=differentiable)
            tensors = slopes.new_zeros(structures.n_atoms, 3, 3)
            tensors = tensors.index_add(0, pairs.second, -pairs.vectors[:, :, None] * slopes[:, None, :])
        forces = on_pairs_to_forces(slopes, pairs, structures.n_atoms)
        return energies + self._baselines(structures), forces, tensors

    def _features(self, structures: Structures, pairs: Pairs) -> Tensor:
        network = in_dtype(self.network, structures.positions)
        return network.features(self.descriptors(structures, pairs), self.kinds(structures))

    def _baselines(self, structures: Structures) -> Tensor:
        kinds = self.kinds(structures)
        return torch.from_numpy(self.baseline).to(structures.positions)[kinds]

    def _members(self, features: Tensor) -> Tensor:
        head = in_dtype(self.network, features).head
        return features[:, :-1] @ head.weight.T + features[:, -1:] * head.bias

    def _member_derivatives(self, structures: Structures, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Forces (K, N, 3) and virials (K, B, 3, 3) of the energies ``features @ weights`` (d, K)."""
        self.check(structures)
        forces, virials = [], []
        for block in _blocks(structures, ATOMS_IN_BLOCK // 8):  # there is a gradient on every pair for every member
            pairs = block.pairs(self.cutoff)
            rows = self.descriptors(block).detach().requires_grad_()
            with torch.enable_grad():
                features = in_dtype(self.network, rows).features(rows, self.kinds(block))
            on_rows = member_gradients(features, weights, rows)
            slopes = rows.new_zeros(len(on_rows), len(pairs), 3)
            column = 0
            for descriptor in (self.radial, self.angular):
                columns = slice(column, column + descriptor.n_features)
                _pull_back(on_rows[:, :, columns], descriptor.pair_jacobian(block), slopes)
                column = columns.stop
            of_block = block.structure_index[pairs.first]
            forces.append(torch.stack([on_pairs_to_forces(s, pairs, block.n_atoms) for s in slopes]))
            products = -pairs.vectors.detach()[None, :, :, None] * slopes[:, :, None, :]
            totals = slopes.new_zeros(len(slopes), block.n_structures, 3, 3).index_add(1, of_block, products)
            virials.append(0.5 * (totals + totals.transpose(2, 3)))
        return torch.cat(forces, dim=1), torch.cat(virials, dim=1)

    def bind(self, structures: Structures, lists: NeighbourLists) -> Bound:
        """See :meth:`Potential.bind`; the result also has ``member_energies``, those of the last evaluation."""
        from matterscape.models._ensemble_bound import BoundEnsemble

        return BoundEnsemble(self, structures, lists)

    # -- training ------------------------------------------------------------------------------------------------------

    def fit(
        self,
        structures: Structures | Atoms | Iterable[Atoms],
        energies: Any,
        forces: Any = None,
        *,
        validation: float | tuple = 0.1,
        loss: str = "likelihood",
        force_weight: float = 1.0,
        epochs: int = 200,
        warm_up: int = 10,
        batch_size: int = 20,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        clip: float = 10.0,
        seed: int = 0,
        progress: Callable[[float, str], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> "EnsemblePotential":
        """Train from new random weights; the network of the epoch with the lowest validation loss is kept.

        The loss is a sum over structures: a score of the energy by the mean and the variance of its members, plus the
        mean square error of the mean force. An interrupt ends the training and keeps the best network so far.

        Parameters
        ----------
        structures : Structures, ase.Atoms or iterable of these
            Training in the dtype of the Structures; frames make float64.
        energies : array (n_structures,)
            In eV, totals.
        forces : array (n_atoms, 3) or list of arrays, optional
            In eV/Å, all structures one after another.
        validation : tuple or float
            Structures, energies and, if there are forces, forces to choose the best epoch by; or the fraction of the
            structures that is drawn for it. Frames of a trajectory should not be validated with their neighbours in
            time.
        loss : "likelihood", "ranked probability" or "squared"
            Of the energies: negative log-likelihood or continuous ranked probability score of a Gaussian with the
            members' mean and variance, or square error of their mean. In units of the baseline's error.
        force_weight : float
            Weight of the forces; at 1 both terms start equal, for energies and forces that are predicted as the
            baseline and zero. A potential for dynamics wants 10 to 100: with liquid and crystalline Stillinger-Weber
            silicon 100 instead of 1 halves the errors of energies and forces.
        epochs, batch_size : int
            The batches hold this many structures.
        warm_up : int
            First epochs with square errors, in which the variance cannot collapse around a mean that knows nothing.
        learning_rate, weight_decay, clip : float
            Of AdamW; the learning rate falls to zero with a cosine. ``clip`` is the largest norm of a gradient.
        seed : int
            Of the weights, the batches and the validation's choice.
        progress, cancelled : callable, optional
            As of :func:`~matterscape.models.network.train`.

        Returns
        -------
        EnsemblePotential
            Itself.

        Raises
        ------
        ValueError, TypeError
            If numbers or shapes do not fit the structures, a value is not finite, or a species is unknown.
        """
        if loss not in LOSSES:
            raise ValueError(f"loss is {loss!r}; accepted are {', '.join(map(repr, LOSSES))}")
        check_number("force_weight", force_weight)
        check_whole("batch_size", batch_size, 1)
        check_whole("warm_up", warm_up, 0)
        check_whole("seed", seed, 0)
        batch_size = int(batch_size)
        parts = Labelled.checked(structures, energies, forces).split(validation, seed)
        for part in parts:
            self.check(part.structures)

        fresh = copy.copy(self)  # this potential stays as it is until the training has gone well
        fresh.settings = {**self.settings, "seed": seed}
        whole = parts[0].structures
        fresh.baseline = fitted_baseline(parts[0], self.kinds(whole), len(self.species))
        baselines = [fresh.baseline_energies(part.structures.to(dtype=torch.float64)).numpy() for part in parts]
        deviations = (parts[0].energies - baselines[0]) / np.sqrt(whole.atoms_per_structure.numpy())
        unit = float(np.sqrt(np.mean(deviations**2))) or 1.0
        training, held_out = (
            make_examples(self, part.scaled(baseline, unit), batch_size, seed)
            for part, baseline in zip(parts, baselines)
        )
        network = fresh._new_network(seed).to(whole.positions.dtype)
        network.body.standardise(*(torch.cat([getattr(e, name) for e in training]) for name in ("rows", "kinds")))
        squares = 0.0 if forces is None else float(np.mean((parts[0].forces / unit) ** 2))
        weight = force_weight * STARTING_LOSS[loss] / squares if squares else 0.0
        fresh._history = train(
            network.requires_grad_(True),
            lambda batch: batch[1].losses(network, batch[0], weight).mean(),
            batches_of_epochs(training, batch_size, warm_up, loss),
            epochs=epochs,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            clip=clip,
            validation=lambda: mean_loss(network, held_out, loss, weight),
            seed=seed,
            progress=progress,
            cancelled=cancelled,
        )
        network = network.requires_grad_(False).double()
        for parameter in network.head.parameters():
            parameter.mul_(unit)
        fresh.network = network
        self.__dict__.update(fresh.__dict__)
        return self

    def stretched(self, factor: float) -> "EnsemblePotential":
        """Copy whose members deviate from their mean, which stays, by this factor more.

        Every quantity that is propagated through the members then has error bars that are larger by this factor, as
        long as it is linear in the energies.

        Parameters
        ----------
        factor : float
            Positive.
        """
        stretched = copy.copy(self)
        stretched.network = copy.deepcopy(self.network)
        weights = torch.from_numpy(self.last_layer().stretched(factor).weights.T)
        stretched.network.head.weight.copy_(weights[:, :-1])
        stretched.network.head.bias.copy_(weights[:, -1])
        return stretched

    def calibrate(self, structures: Structures | Atoms | Iterable[Atoms], energies: Any) -> float:
        """Stretch the members so that their variance fits the errors of structures that were not trained on.

        Parameters
        ----------
        structures : Structures, ase.Atoms or iterable of these
        energies : array (n_structures,)
            In eV.

        Returns
        -------
        float
            The variance scale: mean of error^2 / variance, which maximises the likelihood; the members are stretched by
            its root.

        Raises
        ------
        ValueError
            If an energy is not finite, the members agree, or every energy is predicted exactly.
        """
        labelled = Labelled.checked(structures, energies)
        # single precision would lose small deviations in large energies
        members = self.member_energies(labelled.structures.to(dtype=torch.float64)).detach().numpy()
        variances = members.var(axis=1, ddof=1)
        if not (variances > 0).all():
            raise ValueError(f"the members agree on structure {int(np.argmin(variances))}, so no factor fits its error")
        scale = ensemble_variance_scale(members.mean(axis=1) - labelled.energies, variances)
        self.network = self.stretched(np.sqrt(scale)).network
        return scale

    # -- files ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that predictions need, as plain arrays (settings as one JSON string).

        Returns
        -------
        dict of str to array
        """
        state = {f"network.{name}": values.numpy() for name, values in self.network.state_dict().items()}
        state["baseline"] = self.baseline
        state["settings"] = np.array(json.dumps(self.settings))
        return state

    @classmethod
    def from_state_dict(cls, state: Mapping[str, np.ndarray]) -> "EnsemblePotential":
        """Potential from the arrays of :meth:`state_dict`, with the same numbers bit for bit.

        Parameters
        ----------
        state : mapping of str to array

        Returns
        -------
        EnsemblePotential

        Raises
        ------
        TypeError, ValueError
            If it is no mapping, or an entry is missing.
        """
        cls._check_entries(state, ("settings", "baseline"))
        potential = cls(**json.loads(str(state["settings"])))
        prefix = "network."
        weights = {name.removeprefix(prefix): torch.tensor(state[name]) for name in state if name.startswith(prefix)}
        potential.network.load_state_dict(weights)
        potential.baseline = np.array(state["baseline"])
        return potential

    def __str__(self) -> str:
        names = ", ".join(chemical_symbols[number] for number in self.species)
        return f"EnsemblePotential of {names} with {self.n_members} members"


def _atomic_numbers(species: Sequence[int | str]) -> list[int]:
    if not isinstance(species, Iterable):
        raise TypeError(f"species is {species!r}; accepted is a list of chemical symbols or atomic numbers")
    numbers = [atomic_numbers.get(one) if isinstance(one, str) else one for one in species]
    if None in numbers:
        raise ValueError(
            f"species holds {species[numbers.index(None)]!r}; accepted are chemical symbols and atomic numbers"
        )
    return numbers


def _differentiable(structures: Structures) -> bool:
    return torch.is_grad_enabled() and (structures.positions.requires_grad or structures.cells.requires_grad)


def _blocks(structures: Structures, max_atoms: int) -> Iterable[Structures]:
    """The structures themselves, which know their neighbours, or parts of them."""
    return [structures] if structures.n_atoms <= max_atoms else structures.split(max_atoms)


def _summed(values: Tensor, structures: Structures) -> Tensor:
    """Sums (B, ...) over the atoms of each structure."""
    total = values.new_zeros(structures.n_structures, *values.shape[1:])
    return total.index_add(0, structures.structure_index, values)


def _pull_back(on_rows: Tensor, jacobian: Iterable[tuple[Tensor, Tensor, Tensor]], slopes: Tensor) -> None:
    """Add gradients on pairs (K, P, 3) for gradients (K, N, F) on the features of a descriptor, atom by atom."""
    start = 0
    for first, _, block in jacobian:
        atoms, counts = torch.unique_consecutive(first, return_counts=True)
        for atom, part in zip(atoms.tolist(), block.split(counts.tolist())):
            own = on_rows[:, atom] @ part.flatten(0, 1).T
            slopes[:, start : start + len(part)] += own.unflatten(1, (len(part), 3))
            start += len(part)
