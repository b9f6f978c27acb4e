"""Numba loop over frequencies: the variance-gamma law of an off-diagonal periodogram and its derivatives."""

import math

import numba


@numba.njit(nogil=True, cache=True)
def variance_gamma(z, rho, m, log_density, first, second):
    """Log density of each z, and its first and second derivative in rho.

    ln p = ln theta(x) - x + rho a z - ln[(m-1)! 2^m] - (m-1) ln a with a = 1 / (1 - rho^2), x = a |z| and the reverse
    Bessel polynomial theta of degree m - 1, which equals the finite sum of the law. With ratios
    t_n = theta_n / theta_(n-1) = 2n - 1 + x^2 / t_(n-1) every term is positive and none overflows;
    g = x / t_(m-1) is minus the derivative of ln theta - x.
    """
    constant = -math.lgamma(m) - m * math.log(2.0)
    for k in range(len(z)):
        a = 1.0 / (1.0 - rho[k] * rho[k])
        size = abs(z[k])
        x = a * size
        log_theta, product, ratio = 0.0, 1.0, 1.0
        for n in range(1, m):
            ratio = 1.0 + x if n == 1 else 2.0 * n - 1.0 + x * x / ratio
            product *= ratio
            if product > 1e100:
                log_theta += math.log(product)
                product = 1.0
        log_theta += math.log(product)
        log_density[k] = log_theta - x + rho[k] * a * z[k] + constant - (m - 1) * math.log(a)

        g = 1.0 if m == 1 else x / ratio
        curvature = 0.0 if m == 1 else 1.0 - (2 * m - 2) / ratio - g * g
        slope_a = 2.0 * rho[k] * a * a
        curvature_a = 2.0 * a * a * (1.0 + 4.0 * rho[k] * rho[k] * a)
        first[k] = -g * size * slope_a + z[k] * (a + rho[k] * slope_a) - (m - 1) * slope_a / a
        second[k] = (
            curvature * (size * slope_a) ** 2
            - g * size * curvature_a
            + z[k] * (2.0 * slope_a + rho[k] * curvature_a)
            - (m - 1) * (curvature_a / a - (slope_a / a) ** 2)
        )
