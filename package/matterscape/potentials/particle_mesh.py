"""Particle-mesh Ewald sums for 1/r and every other inverse power: charges on a mesh, fast Fourier transforms.

Charges are spread with cardinal B-splines (smooth PME: Essmann et al., J. Chem. Phys. 103, 8577 (1995)), the strengths of
the waves carry the energy-optimal factor U^2 / (sum_m U_m^2)^2 of P3M (Hockney and Eastwood; Ballenegger, Cerda and Holm,
J. Chem. Theory Comput. 8, 936 (2012)), and forces are the exact derivatives of the energy. The flux tensors take six
more transforms, of the strengths of card-carrying tensor fields g delta_ab + h k_a k_b.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
import torch
from scipy.interpolate import BSpline

from matterscape.basis._lanes import LANES
from matterscape.kernels import get_threads
from matterscape.potentials import _mesh_kernels as kernels
from matterscape.potentials._long_range_operator import long_range_operator
from matterscape.potentials.inverse_power import fourier, fourier_at_zero

ORDERS = range(4, 9)
_COMPONENTS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@lru_cache
def spline_tables(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Polynomials of the weights of the points 0 ... order - 1 and of their slopes in the remainder.

    Returns
    -------
    weights (order, 8), slopes (order - 1, 8)
        Coefficients, highest power first; zero beyond the order.
    """
    spline = BSpline.basis_element(np.arange(order + 1.0), extrapolate=False)
    weights, slopes = np.zeros((order, LANES)), np.zeros((order - 1, LANES))
    for point in range(order):
        piece = order - 1 - point
        for power in range(order):
            coefficient = float(spline.derivative(power)(piece)) / math.factorial(power) if power else None
            weights[order - 1 - power, point] = float(spline(piece)) if power == 0 else coefficient
        slopes[:, point] = weights[:-1, point] * np.arange(order - 1, 0, -1)
    return weights, slopes


def window_factor(n_points: int, order: int) -> np.ndarray:
    """U^2 / (sum_m U_m^2)^2 of the waves 0, 1, ..., -1 of a mesh axis (n_points,); 0 for the wave at half the mesh."""
    angle = 2 * math.pi * np.fft.fftfreq(n_points)
    double = BSpline.basis_element(np.arange(2 * order + 1.0) - order, extrapolate=False)
    overlap = sum(float(double(j)) * np.cos(j * angle) for j in range(-order + 1, order))
    factor = np.sinc(angle / (2 * math.pi)) ** (2 * order) / overlap**2
    if n_points % 2 == 0:
        factor[n_points // 2] = 0.0
    return factor
