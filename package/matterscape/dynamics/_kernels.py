"""Inner loops of the integrators: numpy arrays in, changed in place.

Shapes: positions, velocities, forces (N, 3); masses and inverse masses (N,); offsets (B + 1,), the first atom of each
structure and the end; everything per structure (B,). Serial on purpose: at 1000 atoms a pass takes microseconds, and
the order of every sum is then the same for any number of threads and for a structure alone or in a batch.
"""

import math

import numpy as np

from matterscape.dynamics._random import BLOCK, LANGEVIN, compiled, normal_and_chi_squared, normals

# Fourth-order splitting of the chain propagator: H. Yoshida, Phys. Lett. A 150, 262 (1990); M. Suzuki, J. Math.
# Phys. 32, 400 (1991).
_OUTER = 1.0 / (2.0 - 2.0 ** (1.0 / 3.0))
_SUZUKI_YOSHIDA = (_OUTER, 1.0 - 2.0 * _OUTER, _OUTER)


@compiled
def kick_and_drift(positions, velocities, forces, inverse_masses, kick, drift, limit):
    """v += kick F/m, then x += drift v.

    Returns the first atom that a drift moves by more than ``limit`` (or by something that is no number), else -1.
    """
    culprit = -1
    for i in range(len(positions)):
        factor = kick * inverse_masses[i]
        squared = 0.0
        for a in range(3):
            velocity = velocities[i, a] + factor * forces[i, a]
            velocities[i, a] = velocity
            move = drift * velocity
            positions[i, a] += move
            squared += move * move
        if culprit < 0 and not squared <= limit * limit:
            culprit = i
    return culprit


@compiled
def kick_and_measure(velocities, forces, masses, offsets, kick, kinetic):
    """v += kick F/m, and the kinetic energy of each structure into ``kinetic``."""
    for structure in range(len(offsets) - 1):
        total = 0.0
        for i in range(offsets[structure], offsets[structure + 1]):
            factor = kick / masses[i]
            squared = 0.0
            for a in range(3):
                velocity = velocities[i, a] + factor * forces[i, a]
                velocities[i, a] = velocity
                squared += velocity * velocity
            total += masses[i] * squared
        kinetic[structure] = 0.5 * total


@compiled
def measure(velocities, masses, offsets, kinetic):
    """Kinetic energy of each structure into ``kinetic``."""
    for structure in range(len(offsets) - 1):
        total = 0.0
        for i in range(offsets[structure], offsets[structure + 1]):
            total += masses[i] * (velocities[i, 0] ** 2 + velocities[i, 1] ** 2 + velocities[i, 2] ** 2)
        kinetic[structure] = 0.5 * total


@compiled
def rescale(velocities, offsets, factors):
    """v *= the factor of its structure."""
    for structure in range(len(offsets) - 1):
        factor = factors[structure]
        for i in range(offsets[structure], offsets[structure + 1]):
            for a in range(3):
                velocities[i, a] *= factor


@compiled
def langevin_kick_and_drift(
    positions, velocities, forces, masses, offsets, keys, step, kick, drift, decay, thermal_energies, limit, heat
):
    """The B, A, O and A parts of a BAOAB step; the heat taken from the bath is added to ``heat`` (B,).

    ``decay`` is exp(-friction dt), ``thermal_energies`` (B,) are k_B T, ``keys`` (B, 2) the random streams.
    Returns the first atom that moves by more than ``limit`` (or by something that is no number), else -1.
    """
    culprit = -1
    half = 0.5 * drift
    noise = np.empty((3, BLOCK))
    for structure in range(len(offsets) - 1):
        start = offsets[structure]
        variance = (1.0 - decay * decay) * thermal_energies[structure]
        gained = 0.0
        for i in range(start, offsets[structure + 1]):
            place = (i - start) % BLOCK
            if place == 0:
                normals(np.uint64(i - start), step, LANGEVIN, keys[structure], noise)
            mass = masses[i]
            factor = kick / mass
            width = math.sqrt(variance / mass)
            squared = 0.0
            change = 0.0
            for a in range(3):
                before = velocities[i, a] + factor * forces[i, a]
                after = decay * before + width * noise[a, place]
                velocities[i, a] = after
                move = half * (before + after)
                positions[i, a] += move
                squared += move * move
                change += after * after - before * before
            gained += mass * change
            if culprit < 0 and not squared <= limit * limit:
                culprit = i
        heat[structure] += 0.5 * gained
    return culprit


@compiled
def stochastic_factors(kinetic, freedoms, thermal_energies, decay, step, purpose, keys, heat, factors):
    """Factors of stochastic velocity rescaling, with ``kinetic`` and ``heat`` brought up to date.

    G. Bussi, D. Donadio, M. Parrinello, J. Chem. Phys. 126, 014101 (2007), Eqs. (A7) and (A8). ``decay`` is
    exp(-dt/tau). A structure at rest has no direction to speed up in and stays at rest.
    """
    for structure in range(len(kinetic)):
        if kinetic[structure] <= 0.0:
            factors[structure] = 1.0
            continue
        normal, others = normal_and_chi_squared(freedoms[structure] - 1, step, purpose, keys[structure])
        ratio = 0.5 * thermal_energies[structure] / kinetic[structure]  # target energy per freedom over the present one
        cross = math.sqrt(decay * (1.0 - decay) * ratio)
        squared = decay + (1.0 - decay) * ratio * (normal * normal + others) + 2.0 * normal * cross
        sign = 1.0 if math.sqrt(decay) + normal * math.sqrt((1.0 - decay) * ratio) >= 0.0 else -1.0
        factors[structure] = sign * math.sqrt(max(squared, 0.0))
        change = (squared - 1.0) * kinetic[structure]
        heat[structure] += change
        kinetic[structure] += change


@compiled
def chain_factors(chains, kinetic, freedoms, thermal_energies, time_constant, half, factors):
    """Propagate the Nosé-Hoover chains over ``half`` and give the factors of the velocities; ``kinetic`` follows.

    ``chains`` (B, 2, M): positions (dimensionless) and velocities of the thermostats, whose masses are g k_B T tau^2
    for the first (g degrees of freedom) and k_B T tau^2 for the others. G. J. Martyna, M. E. Tuckerman, D. J. Tobias,
    M. L. Klein, Mol. Phys. 87, 1117 (1996), with three Suzuki-Yoshida weights.
    """
    length = chains.shape[2]
    for structure in range(len(kinetic)):
        thermal = thermal_energies[structure]
        mass = thermal * time_constant * time_constant
        first_mass = freedoms[structure] * mass
        target = freedoms[structure] * thermal
        places = chains[structure, 0]
        speeds = chains[structure, 1]
        energy = kinetic[structure]
        factor = 1.0
        for weight in _SUZUKI_YOSHIDA:
            time = weight * half
            for sweep in range(2):
                for step in range(length):
                    j = length - 1 - step if sweep == 0 else step
                    if j == 0:
                        push = (2.0 * energy - target) / first_mass
                    else:
                        inner = first_mass if j == 1 else mass
                        push = (inner * speeds[j - 1] * speeds[j - 1] - thermal) / mass
                    if j == length - 1:
                        speeds[j] += 0.5 * time * push
                    else:
                        damping = math.exp(-0.25 * time * speeds[j + 1])
                        speeds[j] = (speeds[j] * damping + 0.5 * time * push) * damping
                if sweep == 0:
                    scale = math.exp(-time * speeds[0])
                    factor *= scale
                    energy *= scale * scale
                    for j in range(length):
                        places[j] += time * speeds[j]
        factors[structure] = factor
        kinetic[structure] = energy


@compiled
def strain(positions, velocities, offsets, deformations, inverses):
    """x -> x M and v -> v M^-1 with the matrix M of each structure, which keeps the volume of phase space."""
    for structure in range(len(offsets) - 1):
        matrix = deformations[structure]
        inverse = inverses[structure]
        for i in range(offsets[structure], offsets[structure + 1]):
            x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
            u, v, w = velocities[i, 0], velocities[i, 1], velocities[i, 2]
            for a in range(3):
                positions[i, a] = x * matrix[0, a] + y * matrix[1, a] + z * matrix[2, a]
                velocities[i, a] = u * inverse[0, a] + v * inverse[1, a] + w * inverse[2, a]


@compiled
def pressure_tensors(velocities, masses, flux_tensors, offsets, out):
    """Internal pressure times volume (B, 3, 3) of each structure: sum m v v + sum W."""
    for structure in range(len(offsets) - 1):
        for a in range(3):
            for b in range(3):
                total = 0.0
                for i in range(offsets[structure], offsets[structure + 1]):
                    total += masses[i] * velocities[i, a] * velocities[i, b] + flux_tensors[i, a, b]
                out[structure, a, b] = total


@compiled
def heat_fluxes(velocities, masses, energies, flux_tensors, offsets, out):
    """Heat flux (B, 3) of each structure: J = sum (U + m v^2/2) v + sum W v."""
    out[:] = 0.0
    for structure in range(len(offsets) - 1):
        for i in range(offsets[structure], offsets[structure + 1]):
            squared = velocities[i, 0] ** 2 + velocities[i, 1] ** 2 + velocities[i, 2] ** 2
            energy = energies[i] + 0.5 * masses[i] * squared
            for a in range(3):
                total = energy * velocities[i, a]
                for b in range(3):
                    total += flux_tensors[i, a, b] * velocities[i, b]
                out[structure, a] += total
