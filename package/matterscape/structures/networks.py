"""Continuous random networks: fourfold glasses by bond switching, their statistics, and bridges on their bonds.

The bond-switching algorithm is that of Wooten, Winer and Weaire, Phys. Rev. Lett. 54, 1392 (1985), with the threshold
drawn before relaxation and the local relaxations of Barkema and Mousseau, Phys. Rev. B 62, 4985 (2000).
"""

import json
import operator
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.data import atomic_masses, atomic_numbers

from matterscape.progress import progress
from matterscape.structures import _network_kernels as kernels
from matterscape.structures.batch import Structures
from matterscape.structures.neighbours import find_pairs

SHELLS = 3  # bonds around a switched chain within which atoms follow it
EARLY_REJECTION = 1.5  # / alpha; at a quarter of it a third of the acceptable switches would be lost
CONTACT = 1.25  # bond lengths that atoms without a bond keep apart ...
COLD = 0.022  # ... where kT is at most this many alpha d^2
CHECKPOINT_SECONDS = 20.0
GRAM_PER_CUBIC_CENTIMETRE = 1e27 * units._amu  # of one amu per Å^3: 1.66 g/cm^3


class Keating(NamedTuple):
    """Keating's valence force field (P. N. Keating, Phys. Rev. 145, 637 (1966)); defaults are silicon.

    E = (3/16) (alpha/d^2) sum_bonds (r^2 - d^2)^2 + (3/8) (beta/d^2) sum_angles (r_ij . r_ik + d^2/3)^2,
    with the constants of Barkema and Mousseau, Phys. Rev. B 62, 4985 (2000).
    """

    alpha: float = 2.965  # eV/Å^2
    beta: float = 0.285 * 2.965  # eV/Å^2
    bond_length: float = 2.35  # Å


class Stage(NamedTuple):
    """Part of an annealing schedule; a sweep is one attempted switch per atom."""

    temperature_eV: float
    n_sweeps: int


SILICON = Keating()
SCHEDULE = (
    Stage(2.0, 20), Stage(0.5, 300), Stage(0.4, 800), Stage(0.35, 1000), Stage(0.3, 1200), Stage(0.25, 600),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Network:
    """A fourfold-coordinated network in an orthorhombic periodic cell.

    Attributes
    ----------
    positions : array (n_atoms, 3), float64
        In Å; a bond is a fixed image, so atoms are never wrapped.
    edges : array (3,), float64
        Edges of the cell in Å.
    neighbours : array (n_atoms, 4), int64
        The atoms bonded to each atom.
    images : array (n_atoms, 4, 3), int64
        Whole cells added to each of them.
    keating : Keating
        The force field that the network was relaxed with.
    stages : list of dict
        For each finished stage of the annealing: temperature_eV, n_sweeps, acceptance, energy_per_atom (eV).
    complete : bool
        False when the annealing was interrupted.
    """

    positions: np.ndarray
    edges: np.ndarray
    neighbours: np.ndarray
    images: np.ndarray
    keating: Keating = SILICON
    stages: tuple[dict, ...] = ()
    complete: bool = True

    @property
    def cell(self) -> np.ndarray:
        """Cell vectors (3, 3) as rows, in Å."""
        return np.diag(self.edges)

    @property
    def bonds(self) -> tuple[np.ndarray, np.ndarray]:
        """Every bond once: atoms (2 n_atoms, 2) and whole cells (2 n_atoms, 3) added to the second, both int64."""
        first = np.repeat(np.arange(len(self.positions)), 4)
        second, images = self.neighbours.ravel(), self.images.reshape(-1, 3)
        once = first < second
        return np.stack([first[once], second[once]], axis=1), images[once]

    @property
    def bond_vectors(self) -> np.ndarray:
        """Vectors (n_atoms, 4, 3) from each atom to its neighbours, in Å."""
        return self.positions[self.neighbours] + self.images * self.edges - self.positions[:, None]

    @property
    def energies(self) -> np.ndarray:
        """Keating energy (n_atoms,) of each atom, half of its bonds and all of its angles, in eV."""
        energies = np.empty(len(self.positions))
        atoms = np.arange(len(self.positions))
        kernels.keating(*_arrays(self), tuple(self.keating), atoms, energies, np.zeros_like(self.positions))
        return energies

    def to_ase(self, symbol: str = "Si") -> Atoms:
        """The atoms of the network, wrapped into the periodic cell."""
        atoms = Atoms([symbol] * len(self.positions), self.positions, cell=self.cell, pbc=True)
        atoms.wrap()
        return atoms


def diamond_network(n_repeat: int, keating: Keating = SILICON) -> Network:
    """Network of the diamond crystal, ``n_repeat`` conventional cells along each axis: ``8 n_repeat**3`` atoms.

    Raises
    ------
    ValueError
        If ``n_repeat`` is not a whole number from 2 (with one cell, atoms would be bonded to several of their images).
    """
    if isinstance(n_repeat, bool) or not isinstance(n_repeat, int | np.integer) or n_repeat < 2:
        raise ValueError(f"n_repeat is {n_repeat!r}; accepted is a whole number from 2")
    faces = np.array([[[0, 0, 0]], [[0, 2, 2]], [[2, 0, 2]], [[2, 2, 0]]])
    arms = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    corners = 4 * np.stack(np.meshgrid(*[np.arange(n_repeat)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 1, 3)
    sites = (corners + faces + np.array([[0, 0, 0], [1, 1, 1]])).reshape(-1, 3)  # quarters of the edge
    sign = np.where(sites[:, 0] % 2 == 0, 1, -1)  # the two sublattices
    ends = sites[:, None] + sign[:, None, None] * arms  # (n_atoms, 4, 3)
    edge = 4 * n_repeat
    lookup = np.empty((edge, edge, edge), np.int64)
    lookup[tuple(sites.T)] = np.arange(len(sites))
    quarter = keating.bond_length / np.sqrt(3)
    return Network(
        positions=sites * quarter,
        edges=np.full(3, edge * quarter),
        neighbours=lookup[tuple(np.moveaxis(ends % edge, -1, 0))],
        images=ends // edge,
        keating=keating,
    )


def www_network(
    n_atoms: int,
    seed: int | np.random.Generator = 0,
    schedule: Sequence[tuple[float, int]] = SCHEDULE,
    *,
    keating: Keating = SILICON,
    checkpoint: str | os.PathLike | None = None,
) -> Network:
    """Continuous random network by Wooten-Winer-Weaire bond switching of a randomised diamond crystal.

    Each attempt replaces the bonds A-B and C-D of a chain A-B-C-D by A-C and B-D and is accepted by Metropolis' rule on
    the relaxed energy. The threshold E_0 - kT ln u is drawn first; atoms within three bonds then relax by conjugate
    gradients, whose line search is exact because Keating's energy is a quartic polynomial along a line, and the
    attempt ends as soon as E - 1.5 |gradient|^2 / alpha exceeds the threshold. Triangles are never made, and up to
    kT = 0.022 alpha d^2 (0.36 eV) no switch adds atoms closer than 1.25 bond lengths without a bond, which Keating's
    energy does not see. The whole network is relaxed after every sweep at the crystal's density, and with its volume at
    the end.

    Parameters
    ----------
    n_atoms : int
        8 k^3 with k from 2: 64, 216, 512, 1000, 1728, 4096 ...
    seed : int or numpy.random.Generator
        Same seed, same network, interrupted or not.
    schedule : sequence of (temperature_eV, n_sweeps)
        A sweep is one attempt per atom. The first stage must be hot enough to melt the crystal's memory away (2 eV),
        or the network anneals back to diamond. The default leaves about 0.31 eV per atom and 10 degrees in 216 atoms.
    keating : Keating
        Force constants and bond length.
    checkpoint : path, optional
        ``.npz`` file from which an earlier run with the same arguments goes on, and where this one keeps its state.

    Returns
    -------
    Network
        On KeyboardInterrupt the state reached, relaxed, with ``complete=False`` and a warning.

    Raises
    ------
    ValueError
        For numbers that make no network, or a checkpoint of other arguments.
    """
    n_repeat = round((n_atoms / 8) ** (1 / 3)) if isinstance(n_atoms, int | np.integer) and n_atoms > 0 else 0
    if n_repeat < 2 or 8 * n_repeat**3 != n_atoms:
        raise ValueError(f"n_atoms is {n_atoms!r}; accepted is 8 k^3 with k from 2: 64, 216, 512, 1000, 1728 ...")
    if isinstance(seed, np.random.Generator):
        seed = seed.integers(2**63)
    annealing = _Annealing(n_repeat, operator.index(seed), _checked_schedule(schedule), keating, checkpoint)
    try:
        annealing.run()
    except KeyboardInterrupt:
        annealing.save()
        done, total = annealing.progress
        warnings.warn(
            f"interrupted after {done} of {total} sweeps; this is the network reached so far"
            + (f", and {checkpoint} continues it" if checkpoint else ""),
            stacklevel=2,
        )
    return annealing.network()


def _checked_schedule(schedule: Sequence[tuple[float, int]]) -> tuple[Stage, ...]:
    stages = []
    for stage in schedule:
        temperature, n_sweeps = stage
        if not (np.isfinite(temperature) and temperature >= 0 and int(n_sweeps) == n_sweeps and n_sweeps >= 1):
            raise ValueError(
                f"schedule holds {tuple(stage)!r}; accepted are pairs of a temperature from 0 eV and a whole number of "
                "sweeps from 1"
            )
        stages.append(Stage(float(temperature), int(n_sweeps)))
    if not stages:
        raise ValueError("schedule is empty; at least one stage is needed")
    return tuple(stages)


@dataclass(frozen=True)
class _State:
    """All that a sweep changes; replaced as a whole, so that an interruption never leaves half a sweep."""

    network: Network
    energies: np.ndarray
    stage: int = 0
    sweep: int = 0
    accepted: int = 0  # in this stage


class _Annealing:
    """A run of the schedule that can be stopped after any sweep and continued from a file."""

    def __init__(self, n_repeat, seed, schedule, keating, checkpoint):
        self.seed, self.schedule = seed, schedule
        self.path = None if checkpoint is None else Path(checkpoint)
        self._identity = json.dumps([n_repeat, seed, schedule, keating])
        crystal = diamond_network(n_repeat, keating)
        self.state = _State(crystal, np.zeros(len(crystal.positions)))
        if self.path is not None and self.path.exists():
            self._load(keating)

    @property
    def progress(self) -> tuple[int, int]:
        """Sweeps done and to do."""
        done = sum(stage.n_sweeps for stage in self.schedule[: self.state.stage]) + self.state.sweep
        return done, sum(stage.n_sweeps for stage in self.schedule)

    def run(self) -> None:
        done, total = self.progress
        saved = time.monotonic()
        for _ in progress(range(total - done), "Bond switching", total - done):
            self.state = self._next()
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self.save()
                saved = time.monotonic()
        self.save()

    def _next(self) -> _State:
        """One sweep."""
        state, stage = self.state, self.schedule[self.state.stage]
        old = state.network
        n_atoms = len(old.positions)
        positions, neighbours, images = old.positions.copy(), old.neighbours.copy(), old.images.copy()
        energies = state.energies.copy()
        draws = np.random.default_rng([self.seed, state.stage, state.sweep]).random((n_atoms, 5))
        outcomes = np.empty(n_atoms, np.int8)
        arrays = (positions, old.edges, neighbours, images)
        alpha, _, length = old.keating
        contact = CONTACT * length if stage.temperature_eV <= COLD * alpha * length**2 else 0.0
        kernels.attempt_switches(
            *arrays,
            energies,
            tuple(old.keating),
            stage.temperature_eV,
            draws,
            SHELLS,
            EARLY_REJECTION / alpha,
            contact,
            outcomes,
        )
        accepted = state.accepted + int(np.count_nonzero(outcomes == kernels.ACCEPTED))
        last = state.sweep + 1 == stage.n_sweeps
        energy = _minimise(arrays, old.keating, energies, *((1e-5, 1000) if last else (1e-2, 30)))
        stages = old.stages
        if last:
            record = {"acceptance": accepted / (n_atoms * stage.n_sweeps), "energy_per_atom": energy / n_atoms}
            stages = (*stages, stage._asdict() | record)
        network = Network(*arrays, old.keating, stages)
        if last:
            return _State(network, energies, state.stage + 1)
        return _State(network, energies, state.stage, state.sweep + 1, accepted)

    def network(self) -> Network:
        """The present network, relaxed together with its volume."""
        return relax_network(self.state.network, complete=self.state.stage == len(self.schedule))

    def save(self) -> None:
        """Write the state to the checkpoint, if there is one; the file is replaced as a whole."""
        if self.path is None:
            return
        network, state = self.state.network, self.state
        temporary = self.path.with_name(self.path.name + ".part")
        with open(temporary, "wb") as file:
            np.savez(
                file,
                identity=self._identity,
                positions=network.positions,
                edges=network.edges,
                neighbours=network.neighbours,
                images=network.images,
                energies=state.energies,
                place=[state.stage, state.sweep, state.accepted],
                stages=json.dumps(network.stages),
            )
        os.replace(temporary, self.path)

    def _load(self, keating: Keating) -> None:
        with np.load(self.path, allow_pickle=False) as file:
            if str(file["identity"]) != self._identity:
                raise ValueError(
                    f"checkpoint {self.path} belongs to another run ([k, seed, schedule, keating] = "
                    f"{file['identity']}); name another file or repeat its arguments"
                )
            arrays = [file[name] for name in ("positions", "edges", "neighbours", "images")]
            network = Network(*arrays, keating, tuple(json.loads(str(file["stages"]))))
            self.state = _State(network, file["energies"], *map(int, file["place"]))


def relax_network(network: Network, complete: bool = True) -> Network:
    """The network at the minimum of its Keating energy in positions and volume.

    The volume is that of zero pressure; the cell keeps its shape.
    """
    positions, edges = network.positions.copy(), network.edges.copy()
    arrays = (positions, edges, network.neighbours, network.images)
    energies = np.empty(len(positions))
    for _ in range(30):
        _minimise(arrays, network.keating, energies, 1e-6, 5000)
        scale = _pressure_free_scale(*arrays, network.keating)
        if abs(scale - 1) < 1e-9:
            break
        positions *= scale
        edges *= scale
    return Network(*arrays, network.keating, network.stages, complete)


def _arrays(network: Network) -> tuple[np.ndarray, ...]:
    return network.positions, network.edges, network.neighbours, network.images


def _minimise(arrays, keating: Keating, energies: np.ndarray, force: float, iterations: int) -> float:
    """Relax all atoms in place; returns the energy."""
    atoms = np.arange(len(energies))
    work = np.zeros((2, len(energies), 3))
    energy, _ = kernels.minimise(*arrays, tuple(keating), atoms, atoms, energies, work, force, iterations, np.inf, 0.0)
    return energy


def _pressure_free_scale(positions, edges, neighbours, images, keating: Keating) -> float:
    """Factor on all lengths at which the energy, a parabola in its square, is smallest."""
    vectors = positions[neighbours] + images * edges - positions[:, None]
    products = np.einsum("nkx,nlx->nkl", vectors, vectors)
    same = np.eye(4, dtype=bool)
    weights = np.where(same, keating.alpha / 4, keating.beta / 2)
    target = np.where(same, 1.0, -1 / 3) * keating.bond_length**2
    return float(np.sqrt((weights * products * target).sum() / (weights * products**2).sum()))


@dataclass(frozen=True)
class NetworkStatistics:
    """What :func:`network_statistics` finds.

    Attributes
    ----------
    energy_per_atom : float
        Keating energy in eV.
    atoms_per_volume : float
        In 1/Å^3.
    bond_length_mean, bond_length_deviation : float
        Mean and standard deviation in Å.
    bond_angle_mean, bond_angle_deviation : float
        Mean and standard deviation in degrees; the latter is the usual "bond-angle rms".
    coordination : dict of int to float
        Share of the atoms with that number of other atoms within ``coordination_cutoff``, bonded or not.
    rings_per_atom : dict of int to float
        Number of shortest-path rings of each size, per atom.
    """

    energy_per_atom: float
    atoms_per_volume: float
    bond_length_mean: float
    bond_length_deviation: float
    bond_angle_mean: float
    bond_angle_deviation: float
    coordination: dict[int, float]
    rings_per_atom: dict[int, float]

    def ring_share(self, size: int) -> float:
        """Share of the rings that have ``size`` atoms."""
        return self.rings_per_atom.get(size, 0.0) / sum(self.rings_per_atom.values())


def network_statistics(
    network: Network, largest_ring: int = 10, coordination_cutoff: float | None = None
) -> NetworkStatistics:
    """Energy, density, bond lengths and angles, coordination and rings of a network.

    A ring is a closed chain of bonds without short cut: no two of its atoms are connected by fewer bonds than along the
    ring (D. S. Franzblau, Phys. Rev. B 44, 4925 (1991)). Chains that close only through the periodic cell do not count.

    Parameters
    ----------
    network : Network
    largest_ring : int
        Largest ring that is looked for, 3 to 14.
    coordination_cutoff : float, optional
        In Å; default 1.2 bond lengths, between the first and second shell.

    Raises
    ------
    ValueError
        If ``largest_ring`` is out of range or the cutoff is not positive and finite.
    """
    if isinstance(largest_ring, bool) or largest_ring not in range(3, 15):
        raise ValueError(f"largest_ring is {largest_ring!r}; accepted is a whole number from 3 to 14")
    n_atoms = len(network.positions)
    vectors = network.bond_vectors
    lengths = np.linalg.norm(vectors, axis=2)
    directions = vectors / lengths[:, :, None]
    first, second = np.triu_indices(4, 1)
    angles = np.degrees(np.arccos(np.einsum("npx,npx->np", directions[:, first], directions[:, second]).clip(-1, 1)))
    cutoff = 1.2 * network.keating.bond_length if coordination_cutoff is None else coordination_cutoff
    topology = find_pairs(Structures.from_ase(network.to_ase()), cutoff)
    coordination = np.bincount(np.diff(topology.offsets.numpy()))
    rings = kernels.count_rings(network.neighbours, network.images, largest_ring)
    return NetworkStatistics(
        energy_per_atom=float(network.energies.mean()),
        atoms_per_volume=float(n_atoms / network.edges.prod()),
        bond_length_mean=float(lengths.mean()),
        bond_length_deviation=float(lengths.std()),
        bond_angle_mean=float(angles.mean()),
        bond_angle_deviation=float(angles.std()),
        coordination={n: int(count) / n_atoms for n, count in enumerate(coordination) if count},
        rings_per_atom={size: int(count) / n_atoms for size, count in enumerate(rings) if count},
    )


def decorate_bridges(network: Network, centre: str = "Si", bridge: str = "O", *, density_g_cm3: float) -> Atoms:
    """One bridging atom on the midpoint of every bond: from a-Si to the topology of a-SiO2.

    Parameters
    ----------
    network : Network
    centre, bridge : str
        Chemical symbols of the network's atoms and of the bridges.
    density_g_cm3 : float
        Mass density in g/cm^3 that the cell is scaled to; 2.20 for vitreous silica.

    Returns
    -------
    ase.Atoms
        The ``n_atoms`` centres first, then ``2 n_atoms`` bridges, wrapped into the cell. Not relaxed: all bridges are
        straight.

    Raises
    ------
    ValueError
        For unknown symbols or a density that is not positive and finite.
    """
    for name, symbol in {"centre": centre, "bridge": bridge}.items():
        if symbol not in atomic_numbers or symbol == "X":
            raise ValueError(f"{name} is {symbol!r}; accepted are chemical symbols")
    if not (np.isfinite(density_g_cm3) and density_g_cm3 > 0):
        raise ValueError(f"density_g_cm3 is {density_g_cm3!r}; accepted is a positive, finite density in g/cm^3")
    n_atoms = len(network.positions)
    bonds, images = network.bonds
    ends = network.positions[bonds[:, 1]] + images * network.edges
    midpoints = (network.positions[bonds[:, 0]] + ends) / 2
    mass = n_atoms * atomic_masses[atomic_numbers[centre]] + len(bonds) * atomic_masses[atomic_numbers[bridge]]
    volume = mass / (density_g_cm3 / GRAM_PER_CUBIC_CENTIMETRE)
    scale = (volume / network.edges.prod()) ** (1 / 3)
    atoms = Atoms(
        [centre] * n_atoms + [bridge] * len(bonds),
        positions=np.concatenate([network.positions, midpoints]) * scale,
        cell=network.cell * scale,
        pbc=True,
    )
    atoms.wrap()
    return atoms


def alternate_species(
    network: Network,
    species: tuple[str, str] = ("Si", "C"),
    *,
    seed: int | np.random.Generator = 0,
    n_sweeps: int = 200,
) -> Atoms:
    """Two elements on a network, half and half, with as few bonds between like atoms as swaps can reach.

    Pairs of unlike atoms are swapped by Metropolis' rule on the number of like bonds, whose temperature falls linearly
    from one bond to zero. Rings with an odd number of atoms leave some like bonds in every network.

    Parameters
    ----------
    network : Network
    species : two str
        Chemical symbols.
    seed : int or numpy.random.Generator
    n_sweeps : int
        Attempted swaps per atom.

    Returns
    -------
    ase.Atoms
        On the positions of the network, which are not scaled to the new bonds.

    Raises
    ------
    ValueError
        For unknown symbols, two equal ones or fewer than one sweep.
    """
    if len(set(species)) != 2 or any(symbol not in atomic_numbers or symbol == "X" for symbol in species):
        raise ValueError(f"species is {species!r}; accepted are two different chemical symbols")
    if isinstance(n_sweeps, bool) or not isinstance(n_sweeps, int | np.integer) or n_sweeps < 1:
        raise ValueError(f"n_sweeps is {n_sweeps!r}; accepted is a whole number from 1")
    generator = np.random.default_rng(seed)
    n_atoms = len(network.positions)
    signs = np.where(generator.permutation(n_atoms) < n_atoms // 2, 1, -1)
    kernels.swap_unlike(network.neighbours, signs, generator, n_sweeps * n_atoms)
    atoms = network.to_ase(species[0])
    atoms.symbols[signs < 0] = species[1]
    return atoms
