"""Rigidities beside scikit-matter, a calibration beside one factor per regularisation, many heads beside one head."""

import importlib.util

import numpy as np

from matterscape.benchmarks.task import Calls, Task

N_FEATURES = 512
ATOMS_PER_STRUCTURE = 30
REGULARISATIONS = np.logspace(-8, 2, 41)
HEADS = 64
WIDTHS = (89, 32, 32)  # inputs and hidden layers of a network on a radial and a power spectrum of one element


def _environments(n_atoms: int) -> list[np.ndarray]:
    """Features of atoms, structure by structure, with a spectrum that falls over four decades."""
    rng = np.random.default_rng(n_atoms)
    rows = rng.normal(size=(n_atoms, N_FEATURES)) * np.logspace(0, -4, N_FEATURES) + 0.1
    return np.split(rows, range(ATOMS_PER_STRUCTURE, n_atoms, ATOMS_PER_STRUCTURE))


def _local_rigidities(n_atoms: int) -> Calls:
    from matterscape.uq.local_rigidity import local_prediction_rigidity

    train, test = _environments(n_atoms), _environments(n_atoms + ATOMS_PER_STRUCTURE)

    def ours():
        return local_prediction_rigidity(train, test, 1e-4)

    if importlib.util.find_spec("skmatter") is None:
        return ours, None
    from skmatter import metrics

    return ours, lambda: metrics.local_prediction_rigidity(train, test, 1e-4)


def _component_rigidities(n_atoms: int) -> Calls:
    from matterscape.uq.local_rigidity import component_prediction_rigidity

    train, test = _environments(n_atoms), _environments(n_atoms + ATOMS_PER_STRUCTURE)
    components = np.full(4, N_FEATURES // 4)

    def ours():
        return [component_prediction_rigidity(train, test, 1e-4, components, per=per) for per in ("structure", "atom")]

    if importlib.util.find_spec("skmatter") is None:
        return ours, None
    from skmatter import metrics

    return ours, lambda: metrics.componentwise_prediction_rigidity(train, test, 1e-4, components)


def _calibration_scan(n_samples: int) -> Calls:
    """From the Gram matrix to the likelihood of held-out errors at every regularisation."""
    from matterscape.uq import Rigidity, gram
    from matterscape.uq.calibration import calibrate
    from matterscape.uq.spectrum import RigiditySpectrum

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n_samples, N_FEATURES)) * np.logspace(0, -4, N_FEATURES)
    matrix = gram(rng.normal(size=(4 * N_FEATURES, N_FEATURES)) * np.logspace(0, -4, N_FEATURES))
    errors = rng.normal(size=n_samples) * np.sqrt(Rigidity(matrix, 1e-3).leverages(rows))

    def ours():
        return calibrate(RigiditySpectrum(matrix).rows(rows), errors, regularisations=REGULARISATIONS)

    def one_by_one():
        values = []
        for regularisation in REGULARISATIONS:
            inverse_rigidities = Rigidity(matrix, regularisation).leverages(rows)
            scale = np.mean(errors**2 / inverse_rigidities)
            values.append(0.5 * np.mean(np.log(2 * np.pi * scale * inverse_rigidities)) + 0.5)
        return values

    return ours, one_by_one


def _heads(n_atoms: int) -> Calls:
    """Energies of all members and the gradient of their mean with respect to the descriptors of the atoms."""
    import torch

    from matterscape.models.network import multilayer_perceptron
    from matterscape.uq.ensembles import ShallowEnsemble

    descriptors = torch.from_numpy(np.random.default_rng(0).normal(size=(n_atoms, WIDTHS[0])))

    def network() -> torch.nn.Sequential:
        return torch.nn.Sequential(*multilayer_perceptron(WIDTHS), torch.nn.SiLU())

    many = ShallowEnsemble(network(), WIDTHS[-1], HEADS)
    one = torch.nn.Sequential(*network(), torch.nn.Linear(WIDTHS[-1], 1, dtype=torch.float64))

    def ours():
        members, gradient = many.with_gradient(descriptors)
        return members.sum(dim=0), gradient

    def peer():
        inputs = descriptors.detach().requires_grad_()
        energies = one(inputs)
        (gradient,) = torch.autograd.grad(energies, inputs, torch.ones_like(energies))
        return energies.detach().sum(), gradient

    return ours, peer


def _dynamics_step(repeats: int) -> Calls:
    """Energies of all members and forces of the mean for a cell of silicon, as dynamics asks for them at every step."""
    from matterscape.datasets import generators
    from matterscape.models import EnsemblePotential
    from matterscape.potentials import Evaluator
    from matterscape.structures import Structures

    structures = Structures.from_ase([generators.silicon_crystal(repeats, rattle=0.05, seed=0)])
    positions, cells = structures.positions.numpy(), structures.cells.numpy()

    def step(n_members: int):
        evaluator = Evaluator(EnsemblePotential(["Si"], n_members=n_members), structures)
        return lambda: evaluator(positions, cells)

    return step(HEADS), step(2)


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "rigidity-local",
            "local prediction rigidities of 3000 atoms, 512 features",
            "scikit-matter",
            _local_rigidities,
            3000,
            60,
        ),
        Task(
            "rigidity-component",
            "rigidities of 4 components in 3000 atoms and 100 structures, 512 features",
            "scikit-matter",
            _component_rigidities,
            3000,
            60,
        ),
        Task(
            "calibration-scan",
            "likelihood of 10 000 held-out errors at 41 regularisations, 512 features",
            "a factor for each",
            _calibration_scan,
            10_000,
            100,
        ),
        Task(
            "ensemble-heads",
            "64 members and the gradient of their mean, 64 atoms",
            "one head",
            _heads,
            64,
            8,
        ),
        Task(
            "ensemble-step",
            "step of dynamics with a potential of 64 members, 64 silicon atoms",
            "two members",
            _dynamics_step,
            2,
            1,
        ),
    )
}
