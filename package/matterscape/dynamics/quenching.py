"""Glasses by melting and quenching, and ready-made amorphous silicon, silica and silicon carbide."""

import json
import math
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from matterscape.checks import check_number
from matterscape.dynamics.barostats import StochasticCellRescaling
from matterscape.dynamics.relaxation import Relaxation, relax
from matterscape.dynamics.simulation import Simulation
from matterscape.dynamics.thermostats import StochasticVelocityRescaling
from matterscape.potentials import Potential
from matterscape.progress import progress
from matterscape.structures import Structures
from matterscape.structures.networks import (
    GRAM_PER_CUBIC_CENTIMETRE,
    SCHEDULE,
    Network,
    alternate_species,
    decorate_bridges,
    www_network,
)

RECORDED = ("temperature_K", "potential_energy", "volume")
SAVES = 100  # restart files over a whole run
MOST_STEPS = 20_000  # of the relaxation of a glass, whose landscape is flat


class Segment(NamedTuple):
    """Part of a thermal history: from one temperature to another at a constant rate."""

    start_K: float
    end_K: float
    duration_ps: float


@dataclass(frozen=True, eq=False)
class MeltQuench:
    """A finished, or interrupted, melt-quench run.

    Attributes
    ----------
    structures : Structures
        The last configuration, at temperature; not relaxed.
    times_ps : array (n_records,)
    targets_K : array (n_records,)
        Temperature of the thermostat.
    temperatures_K, potential_energies, volumes : array (n_records, n_structures)
        In K, eV and Å^3.
    complete : bool
        False when the run was interrupted.
    """

    structures: Structures
    times_ps: np.ndarray
    targets_K: np.ndarray
    temperatures_K: np.ndarray
    potential_energies: np.ndarray
    volumes: np.ndarray
    complete: bool


def melt_quench(
    structures: Structures | Atoms | Iterable[Atoms],
    potential: Potential,
    *,
    melt_temperature_K: float,
    quench_rate_K_per_ps: float,
    final_temperature_K: float = 300.0,
    melt_ps: float = 10.0,
    hold_ps: float = 0.0,
    timestep_fs: float = 1.0,
    seed: int = 0,
    pressure_GPa: float | None = None,
    compressibility_per_GPa: float = 0.01,
    record_every_ps: float = 0.1,
    folder: str | os.PathLike | None = None,
) -> MeltQuench:
    """Molecular dynamics through a melt: hold hot, cool at a constant rate, hold cold.

    The temperature is kept by stochastic velocity rescaling (0.1 ps), whose target follows the ramp at every step.

    Parameters
    ----------
    structures : Structures, ase.Atoms or iterable of ase.Atoms
        One or more starting points, run side by side with a random stream each.
    potential : Potential
    melt_temperature_K, final_temperature_K : float
        In K.
    quench_rate_K_per_ps : float
        Cooling rate, positive.
    melt_ps, hold_ps : float
        Time at the first and at the last temperature.
    timestep_fs : float
    seed : int
        Of the initial velocities and the thermostat.
    pressure_GPa : float, optional
        Keep this pressure by isotropic stochastic cell rescaling (1 ps); without it the cells stay as they are.
    compressibility_per_GPa : float
        Rough isothermal compressibility, which sets how fast the cell follows.
    record_every_ps : float
        Spacing of the records.
    folder : path, optional
        Records and a restart file are kept there. The same call with the same folder goes on with an interrupted run,
        bit for bit.

    Returns
    -------
    MeltQuench
        On KeyboardInterrupt the state reached, with ``complete=False`` and a warning.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range, or a folder that holds another run.
    ExplosionError
        If the dynamics becomes unstable.
    """
    check_number("melt_temperature_K", melt_temperature_K, positive=True)
    check_number("quench_rate_K_per_ps", quench_rate_K_per_ps, positive=True)
    check_number("timestep_fs", timestep_fs, positive=True)
    check_number("record_every_ps", record_every_ps, positive=True)
    check_number("compressibility_per_GPa", compressibility_per_GPa, positive=True)
    check_number("final_temperature_K", final_temperature_K)
    check_number("melt_ps", melt_ps)
    check_number("hold_ps", hold_ps)
    if final_temperature_K > melt_temperature_K:
        raise ValueError(
            f"final_temperature_K is {final_temperature_K!r}, above melt_temperature_K = {melt_temperature_K!r}; "
            "a quench goes down"
        )
    history = (
        Segment(melt_temperature_K, melt_temperature_K, melt_ps),
        Segment(
            melt_temperature_K, final_temperature_K, (melt_temperature_K - final_temperature_K) / quench_rate_K_per_ps
        ),
        Segment(final_temperature_K, final_temperature_K, hold_ps),
    )
    if not isinstance(structures, Structures):
        structures = Structures.from_ase(structures)
    thermostat = StochasticVelocityRescaling(melt_temperature_K)
    integrator = thermostat
    if pressure_GPa is not None:
        integrator = StochasticCellRescaling(
            thermostat, pressure_GPa=pressure_GPa, compressibility_per_GPa=compressibility_per_GPa
        )
    simulation = _begin(
        structures,
        potential,
        integrator,
        folder,
        timestep_fs=timestep_fs,
        seed=seed,
        history=history,
        pressure=[pressure_GPa, compressibility_per_GPa],
        record_every_ps=record_every_ps,
    )
    return _follow(simulation, history, max(1, round(record_every_ps / (1e-3 * timestep_fs))), folder)


def target_temperature(history: Sequence[Segment], time_ps: float) -> float:
    """Temperature (K) of a thermal history at a time (ps); the last one afterwards."""
    for segment in history:
        if time_ps < segment.duration_ps:
            return segment.start_K + (segment.end_K - segment.start_K) * time_ps / segment.duration_ps
        time_ps -= segment.duration_ps
    return history[-1].end_K


def _begin(structures, potential, integrator, folder, *, timestep_fs, seed, **protocol) -> Simulation:
    """A new simulation, or the one that the folder holds."""
    if folder is None:
        return Simulation(structures, potential, integrator=integrator, timestep_fs=timestep_fs, seed=seed)
    folder = Path(folder)
    asked = json.loads(
        json.dumps({"timestep_fs": timestep_fs, "seed": seed, "n_atoms": structures.n_atoms, **protocol})
    )
    stored = folder / "protocol.json"
    if stored.exists():
        present = json.loads(stored.read_text())
        if present != asked:
            differing = ", ".join(key for key in asked if asked[key] != present.get(key))
            raise ValueError(f"folder {folder} holds a run with another {differing}; name a new folder")
        if _restart_file(folder).exists():
            return Simulation.restart(_restart_file(folder), potential, folder=folder)
    simulation = Simulation(
        structures, potential, integrator=integrator, timestep_fs=timestep_fs, seed=seed, folder=folder
    )
    stored.write_text(json.dumps(asked))
    simulation.save(_restart_file(folder))
    return simulation


def _restart_file(folder: str | os.PathLike) -> Path:
    return Path(folder) / "restart.npz"


def _follow(simulation: Simulation, history, record_every: int, folder) -> MeltQuench:
    """Run to the end of the thermal history."""
    thermostat = getattr(simulation.integrator, "thermostat", simulation.integrator)
    records = {name: simulation.record(name, record_every) for name in RECORDED}
    targets = simulation.record(
        lambda running: target_temperature(history, running.time_ps), record_every, name="target_K", unit="K"
    )

    def heat(running: Simulation) -> None:
        thermostat.temperature_K = target_temperature(history, running.time_ps)

    simulation.call(heat)
    total = round(sum(segment.duration_ps for segment in history) / (1e-3 * simulation.timestep_fs))
    chunk = max(1, math.ceil(total / SAVES))
    begun = simulation.state.step
    try:
        for start in progress(range(begun, total, chunk), "Melt and quench"):
            simulation.run(min(chunk, total - start), show_progress=False)
            if folder is not None:
                simulation.save(_restart_file(folder))
    except KeyboardInterrupt:
        if folder is not None:
            simulation.save(_restart_file(folder))
        warnings.warn(
            f"interrupted at {simulation.time_ps:.3f} ps, {thermostat.temperature_K:.0f} K"
            + ("" if folder is None else f"; the same call with folder {folder} goes on from there"),
            stacklevel=3,
        )
    return MeltQuench(
        structures=simulation.structures(),
        times_ps=targets.steps * (1e-3 * simulation.timestep_fs),
        targets_K=np.array(targets.values),
        temperatures_K=np.array(records["temperature_K"].values),
        potential_energies=np.array(records["potential_energy"].values),
        volumes=np.array(records["volume"].values),
        complete=simulation.state.step >= total,
    )


def amorphous_silicon(
    n_atoms: int = 216,
    potential: Potential | None = None,
    *,
    seed: int = 0,
    schedule: Sequence[tuple[float, int]] = SCHEDULE,
    network: Network | None = None,
    cell: bool | str = "isotropic",
    force_tolerance: float = 1e-4,
) -> Relaxation:
    """Amorphous silicon: a Wooten-Winer-Weaire network relaxed with an interatomic potential.

    Parameters
    ----------
    n_atoms : int
        8 k^3 with k from 2.
    potential : Potential, optional
        By default Tersoff's for silicon (Phys. Rev. B 39, 5566 (1989)).
    seed, schedule
        Of :func:`~matterscape.structures.networks.www_network`.
    network : Network, optional
        One that exists, instead of a new one of ``n_atoms``.
    cell, force_tolerance
        Of :func:`~matterscape.dynamics.relaxation.relax`.
    """
    from matterscape.potentials.tersoff import Tersoff

    potential = Tersoff.silicon() if potential is None else potential
    network = www_network(n_atoms, seed, schedule) if network is None else network
    return _relaxed(network.to_ase("Si"), potential, cell, force_tolerance)


def amorphous_silica(
    n_silicon: int = 216,
    potential: Potential | None = None,
    *,
    seed: int = 0,
    schedule: Sequence[tuple[float, int]] = SCHEDULE,
    network: Network | None = None,
    density_g_cm3: float = 2.20,
    anneal_temperature_K: float = 1200.0,
    anneal_ps: float = 10.0,
    quench_rate_K_per_ps: float = 90.0,
    cell: bool | str = False,
    force_tolerance: float = 1e-4,
    folder: str | os.PathLike | None = None,
) -> Relaxation:
    """Vitreous silica: oxygen on every bond of an amorphous silicon network, relaxed, annealed, cooled, relaxed.

    Parameters
    ----------
    n_silicon : int
        8 k^3 with k from 2; the glass has three times as many atoms.
    potential : Potential, optional
        By default the silica parameters of Munetoh et al. (Comput. Mater. Sci. 39, 334 (2007)) in Tersoff's form.
    seed, schedule
        Of :func:`~matterscape.structures.networks.www_network`; the seed also serves the dynamics.
    network : Network, optional
        Of silicon, one that exists, instead of a new one of ``n_silicon``.
    density_g_cm3 : float
        In g/cm^3.
    anneal_temperature_K, anneal_ps, quench_rate_K_per_ps : float
        Time at temperature, then cooling to 300 K; the defaults take 10 ps each.
    cell, force_tolerance
        Of the last relaxation.
    folder : path, optional
        See :func:`melt_quench`.
    """
    from matterscape.potentials.tersoff import Tersoff

    potential = Tersoff.silica() if potential is None else potential
    network = www_network(n_silicon, seed, schedule) if network is None else network
    start = decorate_bridges(network, "Si", "O", density_g_cm3=density_g_cm3)
    return _annealed(
        start,
        potential,
        cell,
        force_tolerance,
        melt_temperature_K=anneal_temperature_K,
        melt_ps=anneal_ps,
        quench_rate_K_per_ps=quench_rate_K_per_ps,
        seed=seed,
        folder=folder,
    )


def amorphous_silicon_carbide(
    n_atoms: int = 216,
    potential: Potential | None = None,
    *,
    seed: int = 0,
    schedule: Sequence[tuple[float, int]] = SCHEDULE,
    network: Network | None = None,
    density_g_cm3: float = 3.0,
    anneal_temperature_K: float = 2000.0,
    anneal_ps: float = 20.0,
    quench_rate_K_per_ps: float = 170.0,
    cell: bool | str = False,
    force_tolerance: float = 1e-4,
    folder: str | os.PathLike | None = None,
) -> Relaxation:
    """Amorphous silicon carbide: silicon and carbon on a random network, few like bonds, annealed, cooled, relaxed.

    Parameters
    ----------
    n_atoms : int
        8 k^3 with k from 2.
    potential : Potential, optional
        By default Tersoff's for silicon carbide (Phys. Rev. B 39, 5566 (1989)).
    seed, schedule
        Of :func:`~matterscape.structures.networks.www_network`; the seed also serves the species and the dynamics.
    network : Network, optional
        One that exists, instead of a new one of ``n_atoms``.
    density_g_cm3 : float
        In g/cm^3.
    anneal_temperature_K, anneal_ps, quench_rate_K_per_ps : float
        Time at temperature, then cooling to 300 K; by default 20 and 10 ps.
    cell, force_tolerance
        Of the last relaxation.
    folder : path, optional
        See :func:`melt_quench`.
    """
    from matterscape.potentials.tersoff import Tersoff

    potential = Tersoff.silicon_carbide() if potential is None else potential
    network = www_network(n_atoms, seed, schedule) if network is None else network
    start = alternate_species(network, ("Si", "C"), seed=seed)
    check_number("density_g_cm3", density_g_cm3, "g/cm^3", positive=True)
    volume = start.get_masses().sum() * GRAM_PER_CUBIC_CENTIMETRE / density_g_cm3
    start.set_cell(start.cell * (volume / start.get_volume()) ** (1 / 3), scale_atoms=True)
    return _annealed(
        start,
        potential,
        cell,
        force_tolerance,
        melt_temperature_K=anneal_temperature_K,
        melt_ps=anneal_ps,
        quench_rate_K_per_ps=quench_rate_K_per_ps,
        seed=seed,
        folder=folder,
    )


def _annealed(
    start: Atoms, potential: Potential, cell: bool | str, force_tolerance: float, **history: Any
) -> Relaxation:
    """A decorated network, settled, taken through the thermal history of `melt_quench` and relaxed."""
    settled = relax(start, potential, force_tolerance=0.5)  # no more than a start for the dynamics
    cooled = melt_quench(settled.structures, potential, **history)
    return _relaxed(cooled.structures, potential, cell, force_tolerance)


def _relaxed(
    structures: Structures | Atoms, potential: Potential, cell: bool | str, force_tolerance: float
) -> Relaxation:
    return relax(
        structures,
        potential,
        cell=cell,
        force_tolerance=force_tolerance,
        method="conjugate-gradient",
        max_steps=MOST_STEPS,
    )
