"""Random walkers whose diffusion and conductivity are known."""

import numpy as np
from scipy import signal

from matterscape.transport.trajectories import UnwrappedTrajectory


def walk(n_times, n_walkers, diffusion, timestep_ps, rng):
    """Free walkers (n_times, n_walkers, 3) in Å with the diffusion coefficient in Å^2/ps."""
    return np.cumsum(rng.normal(scale=np.sqrt(2 * diffusion * timestep_ps), size=(n_times, n_walkers, 3)), axis=0)


def caged(n_times, n_walkers, width, relaxation_steps, rng):
    """Walkers bound to a point by a spring: an Ornstein-Uhlenbeck process of that width in each direction."""
    decay = np.exp(-1 / relaxation_steps)
    noise = rng.normal(scale=width * np.sqrt(1 - decay**2), size=(n_times, n_walkers, 3))
    noise[0] /= np.sqrt(1 - decay**2)
    return signal.lfilter([1.0], [1.0, -decay], noise, axis=0)


def salt(n_times, n_pairs, diffusion, seed, *, timestep_ps=0.1, edge=40.0, temperature_K=1000.0):
    """Sodium and chloride ions that know nothing of each other."""
    rng = np.random.default_rng(seed)
    positions = walk(n_times, 2 * n_pairs, diffusion, timestep_ps, rng) + rng.uniform(0, edge, size=(2 * n_pairs, 3))
    return UnwrappedTrajectory(
        positions,
        ["Na"] * n_pairs + ["Cl"] * n_pairs,
        [edge] * 3,
        timestep_fs=1e3 * timestep_ps,
        temperature_K=temperature_K,
    )
