"""Potentials and dynamics beside LAMMPS, torch-pme and matscipy."""

import functools
import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matterscape.benchmarks.task import Calls, Task

if TYPE_CHECKING:
    from ase import Atoms

    from matterscape.potentials import Potential

REPEATS = {"cubic": {1000: (5, 5, 5), 8000: (10, 10, 10)}, "fcc": {1000: (6, 6, 7), 8000: (12, 13, 13)}}
STEPS = {1000: 100, 8000: 20}


@dataclass(frozen=True)
class System:
    """A structure with its potential in both programs.

    ``make(n)`` returns the structure (n about 1000 or 8000 atoms), our potential, and LAMMPS' commands and charges.
    Either program has the skin in Å, 1 or 2, with which it is faster; LAMMPS' default is 2.
    """

    what: str
    make: Callable[[int], tuple["Atoms", "Potential", Sequence[str], dict[str, float] | None]]
    temperature_K: float
    timestep_fs: float
    skin: float
    lammps_skin: float


def _silicon(n: int) -> "Atoms":
    from ase.build import bulk

    return bulk("Si", a=5.431, cubic=True) * REPEATS["cubic"][n]


def _stillinger_weber(n: int):
    from matterscape.benchmarks.lammps_peer import potential_file
    from matterscape.potentials import StillingerWeber

    return (
        _silicon(n),
        StillingerWeber.silicon(),
        ["pair_style sw", f"pair_coeff * * {potential_file('Si.sw')} Si"],
        None,
    )


def _tersoff(n: int):
    from matterscape.benchmarks.lammps_peer import potential_file
    from matterscape.potentials import Tersoff

    commands = ["pair_style tersoff", f"pair_coeff * * {potential_file('SiCGe.tersoff')} Si(D)"]
    return _silicon(n), Tersoff.silicon(), commands, None


def _copper(n: int):
    from ase.build import bulk

    from matterscape.potentials import zhou2004

    potential = zhou2004(["Cu"])
    path = Path(tempfile.mkdtemp(prefix="matterscape-")) / "Cu.eam.alloy"
    potential.to_setfl(path)
    atoms = bulk("Cu", "fcc", a=3.615, cubic=True) * REPEATS["fcc"][n]
    return atoms, potential, ["pair_style eam/alloy", f"pair_coeff * * {path} Cu"], None


def _argon(n: int):
    from ase.build import bulk

    from matterscape.potentials import LennardJones

    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * REPEATS["fcc"][n]
    commands = ["pair_style lj/cut 8.5", "pair_coeff * * 0.0104 3.4"]
    return atoms, LennardJones({("Ar", "Ar"): (0.0104, 3.4)}, cutoff=8.5), commands, None


def _salt(n: int):
    from ase.build import bulk

    from matterscape.potentials import alkali_halide

    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * REPEATS["cubic"][n]
    atoms.rattle(0.2, seed=0)
    charges = {"Na": 1.0, "Cl": -1.0}
    commands = ["pair_style born/coul/long 9.0", "kspace_style pppm 1e-4", *_born_coefficients()]
    exact = _forces(atoms, alkali_halide("NaCl", force_error=1e-8))
    allowed = requested = _rms(_lammps_forces(atoms, commands, charges) - exact)
    while _rms(_forces(atoms, alkali_halide("NaCl", force_error=requested)) - exact) > allowed:
        requested *= 0.9
    return atoms, alkali_halide("NaCl", force_error=requested), commands, charges


def _born_coefficients() -> list[str]:
    """Fumi and Tosi's NaCl for LAMMPS: the types are Na and Cl, and D counts positive where the energy is."""
    rows = {
        "1 1": (1.25, 2.340, 1.68, 0.8),
        "1 2": (1.00, 2.755, 11.2, 13.9),
        "2 2": (0.75, 3.170, 116.0, 233.0),
    }
    return [
        f"pair_coeff {types} {0.210963 * factor} 0.317 {sigma} {0.624151 * c} {-0.624151 * d}"
        for types, (factor, sigma, c, d) in rows.items()
    ]


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def _forces(atoms: "Atoms", potential: "Potential") -> np.ndarray:
    from matterscape.structures import Structures

    return potential(Structures.from_ase(atoms)).forces.numpy()


def _lammps_forces(atoms: "Atoms", commands: Sequence[str], charges: dict[str, float] | None) -> np.ndarray:
    from matterscape.benchmarks.lammps_peer import lammps_system

    lammps = lammps_system(atoms, [*commands, "run 0"], charges=charges)
    forces = np.array(lammps.gather_atoms("f", 1, 3)).reshape(-1, 3)
    lammps.close()
    return forces


SYSTEMS = {
    "sw": System("silicon, Stillinger-Weber", _stillinger_weber, 600.0, 1.0, 1.0, 2.0),
    "tersoff": System("silicon, Tersoff", _tersoff, 600.0, 1.0, 1.0, 2.0),
    "eam": System("copper, embedded atoms", _copper, 600.0, 2.0, 1.0, 2.0),
    "lj": System("argon, Lennard-Jones", _argon, 80.0, 5.0, 1.0, 1.0),
    "salt": System("NaCl, Born-Mayer-Huggins with charges, equal force error", _salt, 900.0, 1.0, 1.0, 1.0),
}


def _prepared(name: str, n: int, extra: Sequence[str]) -> tuple["Atoms", "Potential", Any]:
    """Structure with velocities, potential, and LAMMPS set up (None without it)."""
    from ase.md.velocitydistribution import thermalize_momenta

    system = SYSTEMS[name]
    atoms, potential, commands, charges = system.make(n)
    thermalize_momenta(atoms, temperature_K=2 * system.temperature_K, rng=np.random.default_rng(0))
    if importlib.util.find_spec("lammps") is None:
        return atoms, potential, None
    from matterscape.benchmarks.lammps_peer import lammps_system
    from matterscape.kernels import get_threads

    threads = get_threads()
    # one thread: the variants that LAMMPS has optimised for it; more: those with OpenMP
    arguments = ("-sf", "opt") if threads == 1 else ("-sf", "omp", "-pk", "omp", str(threads))
    commands = [*commands, f"timestep {1e-3 * system.timestep_fs}", f"neighbor {system.lammps_skin} bin"]
    commands += [*extra, "run 0"]
    return atoms, potential, lammps_system(atoms, commands, charges=charges, arguments=arguments)


def _dynamics(name: str, n: int) -> Calls:
    """Steps at constant energy, neighbour searches included."""
    from matterscape.dynamics import Simulation, VelocityVerlet

    system, steps = SYSTEMS[name], STEPS[n]
    atoms, potential, lammps = _prepared(name, n, ["fix 1 all nve", "thermo 1000000"])
    simulation = Simulation(
        atoms, potential, integrator=VelocityVerlet(), timestep_fs=system.timestep_fs, skin=system.skin
    )
    ours = functools.partial(simulation.run, steps, show_progress=False)
    return ours, lammps and functools.partial(lammps.command, f"run {steps} pre no post no")


def _energy_and_forces(name: str, n: int) -> Calls:
    """Energies and forces of atoms at rest, with a neighbour list that stays."""
    from matterscape.potentials import Evaluator
    from matterscape.structures import Structures

    steps = STEPS[n]
    atoms, potential, lammps = _prepared(name, n, ["thermo 1", "thermo_style custom step pe"])
    structures = Structures.from_ase(atoms)
    positions, cells = structures.positions.numpy(), structures.cells.numpy()
    evaluator = Evaluator(potential, structures, skin=SYSTEMS[name].skin)

    def ours():
        for _ in range(steps):
            evaluator(positions, cells)

    return ours, lammps and functools.partial(lammps.command, f"run {steps} pre no post no")


def _mesh(n: int) -> Calls:
    """Energy and forces of rattled NaCl's charges, both programs with the same measured force error."""
    import torch
    from ase.build import bulk

    from matterscape.potentials import Coulomb, Evaluator
    from matterscape.structures import Structures

    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * REPEATS["cubic"][n]
    atoms.rattle(0.2, seed=0)
    charges = {"Na": 1.0, "Cl": -1.0}
    structures = Structures.from_ase(atoms)
    positions, cells = structures.positions.numpy(), structures.cells.numpy()
    exact = _forces(atoms, Coulomb(charges, force_error=1e-8))
    peer, allowed = None, 1e-3
    if importlib.util.find_spec("torchpme") is not None:
        peer = _torch_pme(structures, torch.tensor([[charges[symbol]] for symbol in atoms.symbols]).double())
        allowed = _rms(peer() - exact)
    requested = allowed
    while _rms(_forces(atoms, Coulomb(charges, force_error=requested, method="mesh")) - exact) > allowed:
        requested *= 0.9
    evaluator = Evaluator(Coulomb(charges, force_error=requested, method="mesh"), structures, skin=0.5)
    return functools.partial(evaluator, positions, cells), peer


def _torch_pme(structures: Any, charges: Any) -> Callable[[], np.ndarray]:
    """Forces by torch-pme's own choice of parameters; its neighbour list is made beforehand."""
    import torch
    import torchpme
    from torchpme.tuning import tune_pme

    from matterscape.potentials.constants import COULOMB

    cutoff = 6.0
    pairs = structures.pairs(cutoff)
    half = (pairs.first < pairs.second) | ((pairs.first == pairs.second) & (pairs.shifts[:, 0] > 0))
    indices = torch.stack([pairs.first, pairs.second], dim=1)[half]
    shifts, distances = pairs.shifts[half].double(), pairs.vectors[half].norm(dim=1)
    cell, positions = structures.cells[0], structures.positions
    smearing, parameters, _ = tune_pme(charges, cell, positions, cutoff, indices, distances, accuracy=1e-3)
    calculator = torchpme.PMECalculator(torchpme.CoulombPotential(smearing=smearing), **parameters).double()

    def forces() -> np.ndarray:
        leaf = positions.clone().requires_grad_()
        vectors = leaf[indices[:, 1]] - leaf[indices[:, 0]] + shifts @ cell
        potentials = calculator(charges, cell, leaf, indices, vectors.norm(dim=1))
        # torch-pme halves its potentials: the energy is their sum with the charges
        (gradient,) = torch.autograd.grad((charges * potentials).sum(), leaf)
        return -COULOMB * gradient.numpy()

    return forces


def _hessian(name: str, repeat: int) -> Calls:
    """Force constants of rattled silicon."""
    from ase.build import bulk

    from matterscape.potentials import StillingerWeber, Tersoff
    from matterscape.structures import Structures

    atoms = bulk("Si", a=5.431, cubic=True) * repeat
    atoms.rattle(0.05, seed=0)
    potential = StillingerWeber.silicon() if name == "sw" else Tersoff.silicon()

    def ours():
        return potential.hessian(Structures.from_ase(atoms)).to_bsr()

    if importlib.util.find_spec("matscipy") is None:
        return ours, None
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody import explicit_forms as forms
    from matscipy.calculators.manybody.explicit_forms.stillinger_weber import Stillinger_Weber_PRB_31_5262_Si
    from matscipy.calculators.manybody.explicit_forms.tersoff_brenner import Tersoff_PRB_39_5566_Si_C

    if name == "sw":
        form = forms.StillingerWeber(Stillinger_Weber_PRB_31_5262_Si)
    else:
        form = forms.TersoffBrenner(Tersoff_PRB_39_5566_Si_C)
    calculator = Manybody(**form)
    return ours, lambda: calculator.get_hessian(atoms.copy(), "sparse")


def _relaxation(n_structures: int) -> Calls:
    """Rattled silicon crystals of 64 atoms to 0.01 eV/Å: all of them together, and one by one with ASE's FIRE2."""
    from ase.build import bulk
    from ase.optimize import FIRE2

    from matterscape.dynamics import relax
    from matterscape.potentials import StillingerWeber

    frames = []
    for seed in range(n_structures):
        atoms = bulk("Si", a=5.431, cubic=True) * 2
        atoms.rattle(0.2, seed=seed)
        frames.append(atoms)
    potential = StillingerWeber.silicon()

    def peer():
        for frame in frames:
            atoms = frame.copy()
            atoms.calc = potential.calculator()
            FIRE2(atoms, logfile=None).run(fmax=0.01)

    return lambda: relax(frames, potential, force_tolerance=0.01), peer


TASKS: dict[str, Task] = {}
for _name, _system in SYSTEMS.items():
    for _n in (1000, 8000):
        for _kind, _make, _text in (
            ("md", _dynamics, "steps at constant energy"),
            ("step", _energy_and_forces, "evaluations of energies and forces"),
        ):
            TASKS[f"{_kind}-{_name}-{_n}"] = Task(
                f"{_kind}-{_name}-{_n}",
                f"{STEPS[_n]} {_text}, about {_n} atoms of {_system.what}",
                "lammps",
                functools.partial(_make, _name),
                _n,
                1000,
            )
for _n in (1000, 8000):
    TASKS[f"mesh-{_n}"] = Task(
        f"mesh-{_n}", f"charges of {_n} ions by particle mesh, equal force error", "torch-pme", _mesh, _n, 1000
    )
for _name in ("sw", "tersoff"):
    TASKS[f"hessian-{_name}"] = Task(
        f"hessian-{_name}", "force constants of 216 silicon atoms", "matscipy", functools.partial(_hessian, _name), 3, 1
    )
TASKS["relax-sw"] = Task(
    "relax-sw", "16 silicon crystals of 64 atoms relaxed, our forces on both sides", "ase FIRE2", _relaxation, 16, 1
)
