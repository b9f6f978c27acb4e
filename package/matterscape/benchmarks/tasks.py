"""What is measured: each task is our call and the peer's on the same input."""

import difflib
import functools
import importlib.util
from typing import Any

import numpy as np

from matterscape.benchmarks import (
    ace_tasks,
    crystal_tasks,
    equivariant_tasks,
    lattice_spectral_tasks,
    lattice_tasks,
    potential_tasks,
    tensor_tasks,
    transport_tasks,
    uncertainty_tasks,
)
from matterscape.benchmarks.task import Calls, Task

SOAP = {"cutoff": 5.0, "max_radial": 8, "max_angular": 6, "smearing": 0.3}


def get_task(name: str) -> Task:
    """The task of that name.

    Raises
    ------
    ValueError
        If there is none; the message lists what there is.
    """
    if name not in TASKS:
        close = difflib.get_close_matches(name, TASKS, n=1)
        hint = f", did you mean '{close[0]}'?" if close else ";"
        raise ValueError(f"there is no benchmark '{name}'{hint} accepted are {', '.join(TASKS)}")
    return TASKS[name]


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _frames(system: str, size: int) -> list:
    from matterscape.datasets import generators

    if system == "silicon":
        return [generators.silicon_crystal(size, rattle=0.05, seed=0)]
    if system == "molecules":
        return generators.random_molecules(size, 8, (1, 6, 7, 8), seed=0)
    return [generators.water_box(size, seed=0)]


def featomic_parameters() -> dict[str, Any]:
    """The hyper-parameters of the tasks in featomic's words (its ``max_radial`` counts from 0)."""
    return {
        "cutoff": {"radius": SOAP["cutoff"], "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
        "density": {"type": "Gaussian", "width": SOAP["smearing"]},
        "basis": {
            "type": "TensorProduct",
            "max_angular": SOAP["max_angular"],
            "radial": {"type": "Gto", "max_radial": SOAP["max_radial"] - 1},
        },
    }


def _power_spectrum(system: str, size: int) -> Calls:
    from matterscape.descriptors import PowerSpectrum
    from matterscape.structures import Structures

    frames = _frames(system, size)
    soap = PowerSpectrum(Structures.from_ase(frames).unique_species, **SOAP)

    def ours():
        return soap(Structures.from_ase(frames))

    if not _installed("featomic"):
        return ours, None
    import featomic

    calculator = featomic.SoapPowerSpectrum(**featomic_parameters())
    return ours, lambda: calculator.compute(frames)


def _forces(system: str, size: int) -> Calls:
    import torch

    from matterscape.descriptors import PowerSpectrum, forces
    from matterscape.structures import Structures

    frames = _frames(system, size)
    soap = PowerSpectrum(Structures.from_ase(frames).unique_species, **SOAP)
    weights = torch.randn(soap.n_features, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def ours():
        structures = Structures.from_ase(frames).with_gradients()
        energies = soap(structures) @ weights
        return energies.detach(), forces(energies, structures)

    if not _installed("featomic"):
        return ours, None
    import featomic

    calculator = featomic.SoapPowerSpectrum(**featomic_parameters())
    offsets = np.concatenate([[0], np.cumsum([len(atoms) for atoms in frames])])
    random = np.random.default_rng(0)
    block_weights: dict[tuple, np.ndarray] = {}

    def peer():
        energies, result = np.zeros(offsets[-1]), np.zeros((offsets[-1], 3))
        for key, block in calculator.compute(frames, gradients=["positions"]).items():
            w = block_weights.setdefault(tuple(key.values), random.normal(size=block.values.shape[1]))
            samples = block.samples.values
            energies[offsets[samples[:, 0]] + samples[:, 1]] += block.values @ w
            gradient = block.gradient("positions")
            atoms = offsets[gradient.samples["system"]] + gradient.samples["atom"]
            np.subtract.at(result, atoms, gradient.values @ w)
        return energies, result

    return ours, peer


def _harmonics(max_angular: int, size: int) -> Calls:
    import torch

    from matterscape.basis import spherical_harmonics_with_gradients

    vectors = np.random.default_rng(0).normal(size=(size, 3))
    tensor = torch.from_numpy(vectors)

    def ours():
        return spherical_harmonics_with_gradients(tensor, max_angular)

    if not _installed("sphericart"):
        return ours, None
    import sphericart

    calculator = sphericart.SphericalHarmonics(max_angular)  # its numpy layer is faster than its torch layer
    return ours, lambda: calculator.compute_with_gradients(vectors)


_SYSTEMS = {
    "silicon": ("512 atoms of silicon", 4, 1),
    "molecules": ("1000 molecules of 8 atoms C, H, N, O", 1000, 8),
    "water": ("999 atoms of liquid water", 333, 64),
}

TASKS: dict[str, Task] = {}
for _system, (_what, _full, _small) in _SYSTEMS.items():
    for _kind, _make, _text in (
        ("soap", _power_spectrum, "power spectrum"),
        ("forces", _forces, "power spectrum, linear energy and forces"),
    ):
        _name = f"{_kind}-{_system}"
        TASKS[_name] = Task(_name, f"{_text}, {_what}", "featomic", functools.partial(_make, _system), _full, _small)
for _l in (6, 8, 10, 12):
    _name = f"harmonics-{_l}"
    TASKS[_name] = Task(
        _name,
        f"spherical harmonics to l = {_l} with gradients, 1e5 vectors",
        "sphericart",
        functools.partial(_harmonics, _l),
        100_000,
        1_000,
    )
TASKS |= potential_tasks.TASKS | uncertainty_tasks.TASKS | transport_tasks.TASKS
TASKS |= lattice_tasks.TASKS | lattice_spectral_tasks.TASKS | crystal_tasks.TASKS | ace_tasks.TASKS
TASKS |= equivariant_tasks.TASKS | tensor_tasks.TASKS
