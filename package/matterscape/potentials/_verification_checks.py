"""What :func:`~matterscape.potentials.verification.verify` measures: one function per promise of a potential.

Each takes a structure with its potential and returns an error relative to a scale of that structure.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import numba
import numpy as np
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

from matterscape.kernels import get_threads, set_threads
from matterscape.potentials.base import Evaluation, Potential
from matterscape.potentials.composition import Scaled, Sum
from matterscape.potentials.evaluator import Evaluator
from matterscape.potentials.orientations import rotated, turned
from matterscape.structures import Structures

STEP = 5e-4  # Å and radians: of the finite differences
_STRAIN = 0.1  # strains are this much smaller, so that distant neighbours move by STEP too
_STENCIL = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))  # fourth order
_DIRECTIONS = 4
_CLUSTER_ATOMS = 12  # an open cluster has at least so many
_USUAL_CUTOFF = 9.0  # Å
_SCAN_POINTS, _ZOOM_POINTS, _ZOOMS, _SUSPECTS = 240, 17, 5, 3

Factory = Callable[[Atoms], Potential]


class Impossible(Exception):
    """A check does not apply; the message says why."""


@dataclass
class Case:
    """One structure, the potential for it, and what several checks need."""

    make: Factory
    atoms: Atoms
    everything: list[Atoms]
    rng: np.random.Generator
    shared: bool  # one potential serves all structures

    @cached_property
    def potential(self) -> Potential:
        """The potential for the structure."""
        return self.make(self.atoms)

    @cached_property
    def result(self) -> Evaluation:
        """What the potential says of the structure."""
        return self.potential(Structures.from_ase(self.atoms))

    @cached_property
    def forces(self) -> np.ndarray:
        """Forces (n, 3) in eV/Å."""
        return self.result.forces.numpy()

    @cached_property
    def energy_scale(self) -> float:
        """Largest energy of an atom, in eV."""
        return float(self.result.energies.abs().max()) or 1.0

    @cached_property
    def force_scale(self) -> float:
        """Largest force, or what an atomic energy over 100 Å would make where symmetry leaves none."""
        return max(float(np.abs(self.forces).max()), 1e-2 * self.energy_scale)

    @cached_property
    def open(self) -> "Case":
        """The structure, repeated until it is large enough, without periodic images."""
        if not self.atoms.pbc.any():
            return self
        copies = np.ones(3, int)
        while len(self.atoms) * copies.prod() < _CLUSTER_ATOMS:
            lengths = np.where(self.atoms.pbc, self.atoms.cell.lengths() * copies, np.inf)
            copies[lengths.argmin()] += 1
        cluster = self.atoms.repeat(copies)
        cluster.pbc = False
        case = Case(self.make, cluster, [cluster], self.rng, self.shared)
        try:
            _ = case.result
        except ValueError as error:
            raise Impossible(f"no open cluster: {error}") from error
        return case

    def evaluate(self, frames: list[Atoms]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Energies (n,) and forces (n, 3) of variants of the structure."""
        batches = [frames] if self.shared else [[frame] for frame in frames]
        values = []
        for batch in batches:
            result = self.potential(Structures.from_ase(batch))
            counts = [len(frame) for frame in batch]
            values += zip(*(t.detach().split(counts) for t in (result.energies, result.forces)))
        return [(energies.numpy(), forces.numpy()) for energies, forces in values]

    def derivative(self, move: Callable[[float], Atoms]) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of energies (n,) and forces (n, 3) along a path, by finite differences at its start."""
        values = self.evaluate([move(factor * STEP) for factor, _ in _STENCIL])
        weights = [weight / STEP for _, weight in _STENCIL]
        return tuple(sum(w * value[k] for w, value in zip(weights, values)) for k in (0, 1))

    def random(self, *shape: int) -> np.ndarray:
        """Random numbers, the largest of them 1 in size."""
        values = self.rng.normal(size=shape)
        return values / np.abs(values).max()

    def moved(self, direction: np.ndarray) -> Callable[[float], Atoms]:
        """Path of structures along displacements (n, 3)."""

        def move(distance: float) -> Atoms:
            copy = self.atoms.copy()
            copy.positions += distance * direction
            return copy

        return move

    def strained(self, strain: np.ndarray) -> Callable[[float], Atoms]:
        """Path of structures along a strain (3, 3)."""

        def move(amount: float) -> Atoms:
            copy = self.atoms.copy()
            deformation = np.eye(3) + amount * strain
            copy.cell = self.atoms.cell.array @ deformation
            copy.positions = self.atoms.positions @ deformation
            return copy

        return move


def _deviation(
    case: Case, others: Sequence[tuple[np.ndarray, np.ndarray]], expected: Sequence[tuple[np.ndarray, np.ndarray]]
) -> float:
    """Largest difference of energies and forces, each over its scale."""
    return max(
        max(
            np.abs(energies - own_energies).max() / case.energy_scale,
            np.abs(forces - own_forces).max() / case.force_scale,
        )
        for (energies, forces), (own_energies, own_forces) in zip(others, expected, strict=True)
    )


def _same(case: Case, *frames: Atoms) -> float:
    own = (case.result.energies.numpy(), case.forces)
    return _deviation(case, case.evaluate(list(frames)), [own] * len(frames))


def _forces(case: Case) -> float:
    errors = []
    for _ in range(_DIRECTIONS):
        direction = case.random(*case.forces.shape)
        slope = case.derivative(case.moved(direction))[0].sum()
        errors.append(abs(slope + (case.forces * direction).sum()) / np.linalg.norm(direction))
    return max(errors) / case.force_scale


def _torques(case: Case) -> float:
    torques = getattr(case.result, "torques", None)
    if torques is None:
        raise Impossible("no oriented bodies")
    errors = []
    for _ in range(_DIRECTIONS):
        axes = case.random(*torques.shape)
        slope = case.derivative(lambda angle, axes=axes: turned(case.atoms, angle * axes))[0].sum()
        errors.append(abs(slope + (torques.numpy() * axes).sum()) / np.linalg.norm(axes))
    return max(errors) / float(torques.abs().max())


def _stress(case: Case) -> float:
    virial = case.result.virials[0].numpy()
    errors = []
    for _ in range(_DIRECTIONS):
        strain = _STRAIN * case.random(3, 3)
        strain = (strain + strain.T) / 2
        errors.append(abs(case.derivative(case.strained(strain))[0].sum() + (virial * strain).sum()))
    return max(errors) / (_STRAIN * max(np.abs(virial).max(), case.energy_scale))


def _flux_sum(case: Case) -> float:
    structures = Structures.from_ase(case.atoms).with_gradients(strain=True)
    result = case.potential(structures)
    (slope,) = torch.autograd.grad(result.energies.sum(), structures.strain)
    total = result.flux_tensors.detach().sum(0)
    return float((total + slope[0]).abs().max()) / max(float(total.abs().max()), case.energy_scale)


def _heat_flux(case: Case) -> float:
    case = case.open
    velocities = case.random(*case.forces.shape)
    spin = case.random(*case.forces.shape)
    torques = getattr(case.result, "torques", None)

    def move(time: float) -> Atoms:
        frame = turned(case.atoms, time * spin)
        frame.positions += time * velocities
        return frame

    power = case.derivative(move)[0] + (case.forces * velocities).sum(1)
    flux = np.einsum("nab,nb->na", case.result.flux_tensors.numpy(), velocities)
    if torques is not None:
        power += (torques.numpy() * spin).sum(1)
        flux += np.einsum("nab,nb->na", case.result.rotational_flux_tensors.numpy(), spin)
    moment = power @ (case.atoms.positions - case.atoms.positions.mean(axis=0))
    return np.abs(moment - flux.sum(axis=0)).max() / max(np.linalg.norm(flux), 1e-2 * case.energy_scale)


def _total_force(case: Case) -> float:
    return np.abs(case.forces.sum(axis=0)).max() / (case.force_scale * len(case.atoms))


def _total_torque(case: Case) -> float:
    case = case.open
    arms = case.atoms.positions - case.atoms.positions.mean(axis=0)
    total = np.cross(arms, case.forces).sum(axis=0)
    torques = getattr(case.result, "torques", None)
    if torques is not None:
        total = total + torques.numpy().sum(axis=0)
    return np.abs(total).max() / (case.force_scale * max(np.abs(arms).sum(), 1.0))


def _double_backward(case: Case) -> float:
    direction, strain = case.random(*case.forces.shape), _STRAIN * case.random(3, 3)
    structures = Structures.from_ase(case.atoms).with_gradients(strain=True)
    product = (case.potential(structures).forces * torch.from_numpy(direction)).sum()
    by_positions, by_strain = torch.autograd.grad(product, (structures.leaf_positions, structures.strain))
    moved = case.derivative(case.moved(direction))[1]
    strained = case.derivative(case.strained(strain))[1]
    scale = max(np.abs(moved).max(), case.force_scale)
    strain_scale = np.linalg.norm(direction) * max(np.linalg.norm(strained), _STRAIN * case.force_scale)
    return max(
        np.abs(by_positions.numpy() - moved).max() / scale,
        abs((strained * direction).sum() - (by_strain[0].numpy() * strain).sum()) / strain_scale,
    )


def _has_hessian(potential: Potential) -> bool:
    if isinstance(potential, Sum):
        return all(map(_has_hessian, potential.terms))
    if isinstance(potential, Scaled):
        return _has_hessian(potential.potential)
    return type(potential).hessian is not Potential.hessian


def _hessian(case: Case) -> float:
    if not _has_hessian(case.potential):
        raise Impossible("no Hessian of its own")
    constants = case.potential.hessian(Structures.from_ase(case.atoms))
    dense, scale = np.asarray(constants.dense()), np.abs(constants.blocks).max(initial=0.0)
    errors = []
    for _ in range(_DIRECTIONS):
        direction = case.random(*case.forces.shape)
        numerical = case.derivative(case.moved(direction))[1]
        errors.append(np.abs((dense @ direction.reshape(-1)).reshape(-1, 3) + numerical).max() / scale)
    return max(errors)


def _translation(case: Case) -> float:
    return _same(case, case.moved(case.random(3))(3.0))


def _rotation(case: Case) -> float:
    rotation = Rotation.random(rng=case.rng).as_matrix()
    frame = rotated(case.atoms, rotation)
    result = case.make(frame)(Structures.from_ase(frame))
    turned_back = (result.energies.numpy(), result.forces.numpy() @ rotation)
    return _deviation(case, [turned_back], [(case.result.energies.numpy(), case.forces)])


def _permutation(case: Case) -> float:
    order = case.rng.permutation(len(case.atoms))
    result = case.make(case.atoms[order])(Structures.from_ase(case.atoms[order]))
    own = (case.result.energies.numpy()[order], case.forces[order])
    return _deviation(case, [(result.energies.numpy(), result.forces.numpy())], [own])


def _images(case: Case) -> float:
    if not case.atoms.pbc.any():
        raise Impossible("not periodic")
    frame = case.atoms.copy()
    cells = np.where(case.atoms.pbc, case.rng.integers(-2, 3, size=(len(frame), 3)), 0)
    frame.positions += cells @ frame.cell.array
    result = case.make(frame)(Structures.from_ase(frame))
    own = (case.result.energies.numpy(), case.forces)
    return _deviation(case, [(result.energies.numpy(), result.forces.numpy())], [own])


def _supercell(case: Case) -> float:
    if not case.atoms.pbc.any():
        raise Impossible("not periodic")
    copies = np.where(np.arange(3) == case.atoms.pbc.argmax(), 2, 1)
    frame = case.atoms.repeat(copies)
    result = case.make(frame)(Structures.from_ase(frame))
    own = (np.tile(case.result.energies.numpy(), 2), np.tile(case.forces, (2, 1)))
    return _deviation(case, [(result.energies.numpy(), result.forces.numpy())], [own])


def _batch(case: Case) -> float:
    if not case.shared:
        raise Impossible("the potential belongs to one structure")
    frames = [*case.everything, case.atoms]
    result = case.potential(Structures.from_ase(frames))
    n_atoms = len(case.atoms)
    own = (case.result.energies.numpy(), case.forces)
    return _deviation(case, [(result.energies[-n_atoms:].numpy(), result.forces[-n_atoms:].numpy())], [own])


def _float32(case: Case) -> float:
    result = case.potential(Structures.from_ase(case.atoms, dtype=torch.float32))
    if result.forces.dtype != torch.float32:
        raise ValueError(f"{case.potential} computes in {result.forces.dtype} where it was given float32")
    own = (case.result.energies.numpy(), case.forces)
    return _deviation(case, [(result.energies.double().numpy(), result.forces.double().numpy())], [own])


def _evaluator(case: Case) -> float:
    """Neighbour lists with a skin along a path, with flux tensors, against a fresh evaluation at its end."""
    evaluator = Evaluator(case.potential, Structures.from_ase(case.atoms), skin=0.5)
    cells = case.atoms.cell.array[None].copy()
    end = case.atoms.copy()
    for _ in range(4):
        end.positions += 0.05 * case.random(*case.forces.shape)
        evaluator(np.ascontiguousarray(end.positions), cells, pieces=True)
    fresh = case.potential(Structures.from_ase(end))
    tensors = fresh.flux_tensors.numpy()
    return max(
        _deviation(case, [(evaluator.energies, evaluator.forces)], [(fresh.energies.numpy(), fresh.forces.numpy())]),
        np.abs(evaluator.flux_tensors - tensors).max() / max(np.abs(tensors).max(), case.energy_scale),
    )


@contextmanager
def threads_set(threads: int) -> Iterator[None]:
    """Another number of threads inside a block."""
    before = get_threads()
    set_threads(threads)
    try:
        yield
    finally:
        set_threads(before)


def _with_threads(case: Case, threads: int) -> list[np.ndarray]:
    with threads_set(threads):
        result = case.potential(Structures.from_ase(case.atoms))
    return [t.numpy() for t in (result.energies, result.forces, result.flux_tensors)]


def _repeat(case: Case) -> float:
    most = numba.config.NUMBA_NUM_THREADS
    pairs = [zip(_with_threads(case, n), _with_threads(case, n)) for n in {1, most}]
    return float(sum((first != second).sum() for pair in pairs for first, second in pair))


def _threads(case: Case) -> float:
    most = numba.config.NUMBA_NUM_THREADS
    if most == 1:
        raise Impossible("only one thread here")
    (energies, forces, _), (other_energies, other_forces, _) = (_with_threads(case, n) for n in (1, most))
    return _deviation(case, [(other_energies, other_forces)], [(energies, forces)])


def _smoothness(case: Case) -> float:
    """Jump that remains when looking ever closer at the roughest places of paths that lead an atom away."""
    case = case.open
    arms = case.atoms.positions - case.atoms.positions.mean(axis=0)
    jumps = []
    for number in np.unique(case.atoms.numbers):
        members = np.flatnonzero(case.atoms.numbers == number)
        atom = members[np.linalg.norm(arms[members], axis=1).argmax()]
        outwards = arms[atom] if arms[atom].any() else np.array([1.0, 0.0, 0.0])
        direction = np.zeros_like(arms)
        direction[atom] = outwards / np.linalg.norm(outwards)
        values = partial(_along, case, Evaluator(case.potential, Structures.from_ase(case.atoms)), direction)
        path = np.linspace(0.0, 1.2 * _cutoff(case.potential), _SCAN_POINTS)
        jumps += [_zoom(values, *interval) for interval in _suspects(path, values(path))]
    return max(jumps)


def _cutoff(potential: Potential) -> float:
    """Largest cutoff among the terms, in Å; one that is usual where there is none."""
    if isinstance(potential, Sum):
        return max(map(_cutoff, potential.terms))
    if isinstance(potential, Scaled):
        return _cutoff(potential.potential)
    return getattr(potential, "cutoff", None) or _USUAL_CUTOFF


def _along(case: Case, evaluator: Evaluator, direction: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Energy and forces (distances, 1 + 3 n) over their scales."""
    cells = case.atoms.cell.array[None].copy()
    values = np.empty((len(distances), 1 + direction.size))
    for row, distance in zip(values, distances):
        evaluator(case.atoms.positions + distance * direction, cells)
        row[0] = evaluator.energies.sum() / case.energy_scale
        row[1:] = evaluator.forces.reshape(-1) / case.force_scale
    return values


def _suspects(path: np.ndarray, values: np.ndarray) -> list[tuple[float, float]]:
    """Intervals whose fourth differences stand out from those around them."""
    rough = np.abs(np.diff(values, n=4, axis=0)).max(axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(rough, 10, mode="edge"), 21)
    contrast = rough / (np.median(windows, axis=1) + 1e-14)
    places = []
    for place in np.argsort(-contrast):
        if all(abs(place - other) > 5 for other in places):
            places.append(int(place))
        if len(places) == _SUSPECTS:
            break
    return [(path[place], path[place + 4]) for place in places]


def _zoom(values: Callable[[np.ndarray], np.ndarray], start: float, stop: float) -> float:
    """Largest step between neighbouring points, after closing in on it several times."""
    for _ in range(_ZOOMS):
        points = np.linspace(start, stop, _ZOOM_POINTS)
        along = values(points)
        steps = np.abs(np.diff(along, axis=0)).max(axis=1)
        worst = int(steps.argmax())
        start, stop = points[worst], points[worst + 1]
    return float(steps.max() / max(1.0, np.abs(along).max()))  # bonds have no end


CHECKS: dict[str, tuple[Callable[[Case], float], float, str]] = {
    "forces": (_forces, 1e-7, "F = -dU/dr by finite differences, of the largest force"),
    "torques": (_torques, 1e-7, "-dU/d(angle) by finite differences, of the largest torque"),
    "stress": (_stress, 1e-7, "dU/d(strain) by finite differences, of the virial"),
    "flux sum": (_flux_sum, 1e-10, "sum of W = -dU/d(strain) of torch, of the virial"),
    "heat flux": (_heat_flux, 1e-7, "d/dt sum_i r_i e_i of an open cluster, of |W v|"),
    "double backward": (_double_backward, 1e-6, "d(F.x)/d(r, strain) of torch by finite differences"),
    "hessian": (_hessian, 1e-6, "its products with vectors by finite differences, of its largest entry"),
    "total force": (_total_force, 1e-11, "sum of F = 0, per atom and of the largest force"),
    "total torque": (_total_torque, 1e-11, "sum of r x F (+ torques) = 0 in an open cluster"),
    "translation": (_translation, 1e-10, "energies and forces stay"),
    "rotation": (_rotation, 1e-10, "energies stay, forces rotate"),
    "permutation": (_permutation, 1e-10, "energies and forces go with their atoms"),
    "images": (_images, 1e-10, "atoms moved by whole cells"),
    "supercell": (_supercell, 1e-10, "the structure twice"),
    "smoothness": (_smoothness, 1e-5, "largest jump of U and F while an atom leaves the others"),
    "evaluator": (_evaluator, 1e-10, "lists with a skin along a path against a fresh evaluation"),
    "batch": (_batch, 1e-10, "among other structures as alone"),
    "float32": (_float32, 1e-4, "energies and forces against float64"),
    "repeat": (_repeat, 0.0, "numbers that differ bit for bit when computed again"),
    "threads": (_threads, 1e-10, "one thread against all"),
}
