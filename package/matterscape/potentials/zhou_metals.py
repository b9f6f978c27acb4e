"""Embedded-atom potentials of 17 metals and of all their alloys after Zhou, Johnson and Wadley.

The functions of a pair (centre a, neighbour b):

    f(r)      = f_e exp[-beta (r/r_e - 1)] / [1 + (r/r_e - lambda)^20]
    phi_aa(r) = A exp[-alpha (r/r_e - 1)] / [1 + (r/r_e - kappa)^20] - B / f_e f(r)
    phi_ab    = (f_b / f_a phi_aa + f_a / f_b phi_bb) / 2

and the embedding energy in three pieces: a cubic polynomial in rho/rho_n - 1 below rho_n = rho_l rho_e, another one in
rho/rho_e - 1 up to 1.15 rho_e, and F_e [1 - eta ln(rho/rho_s)] (rho/rho_s)^eta from there on. The alloys are mixing
rules, nothing is fitted to them. The six published digits leave steps of up to 1e-6 eV in F where the pieces meet and
at F(0) = 0; changes of Fn_0, Fn_1 and F_e by no more than 1.5e-6 eV close them.

Sources: X. W. Zhou, R. A. Johnson, H. N. G. Wadley, Phys. Rev. B 69, 144113 (2004); Cr from Z. Lin, R. A. Johnson,
L. V. Zhigilei, Phys. Rev. B 77, 214108 (2008); numbers as in ``tools/eam_database`` of LAMMPS (``EAM_code``,
``eamDatabase.py``). The cut-off is ours: the tools truncate sharply, which does not conserve the energy.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from ase.data import atomic_numbers

from matterscape.potentials._eam_kernels import FIRST_KEY, KEY_SHIFT, N_PARAMETERS
from matterscape.potentials._stars import EAM_SQUARED
from matterscape.potentials.eam import EAM

# Å, eV; densities in a common, arbitrary unit
_COLUMNS = (
    "r_e", "f_e", "rho_e", "rho_s", "alpha", "beta", "a", "b", "kappa", "lambda",
    "low_0", "low_1", "low_2", "low_3", "middle_0", "middle_1", "middle_2", "middle_3", "eta", "f_high", "rho_l",
)  # fmt: skip
PARAMETERS = {
    "Cu": (
        2.556162, 1.554485, 21.175871, 21.175395, 8.12762, 4.334731, 0.39662, 0.548085, 0.308782, 0.756515,
        -2.170269, -0.263788, 1.088878, -0.817603, -2.19, 0.0, 0.56183, -2.100595, 0.31049, -2.186568, 0.85,
    ),
    "Ag": (
        2.891814, 1.106232, 14.6041, 14.604144, 9.13201, 4.870405, 0.277758, 0.419611, 0.33971, 0.750758,
        -1.729364, -0.255882, 0.91205, -0.561432, -1.75, 0.0, 0.744561, -1.15065, 0.783924, -1.748423, 0.85,
    ),
    "Au": (
        2.885034, 1.529021, 19.991632, 19.991509, 9.516052, 5.075228, 0.229762, 0.356666, 0.35657, 0.748798,
        -2.937772, -0.500288, 1.601954, -0.83553, -2.98, 0.0, 1.706587, -1.134778, 1.021095, -2.978815, 0.85,
    ),
    "Ni": (
        2.488746, 2.007018, 27.562015, 27.562031, 8.383453, 4.471175, 0.429046, 0.633531, 0.443599, 0.820658,
        -2.693513, -0.076445, 0.241442, -2.375626, -2.7, 0.0, 0.26539, -0.152856, 0.44547, -2.7, 0.85,
    ),
    "Pd": (
        2.750897, 1.595417, 21.335246, 21.940073, 8.697397, 4.638612, 0.406763, 0.59888, 0.397263, 0.754799,
        -2.321006, -0.473983, 1.615343, -0.231681, -2.36, 0.0, 1.481742, -1.675615, 1.13, -2.352753, 0.85,
    ),
    "Pt": (
        2.771916, 2.336509, 33.367564, 35.205357, 7.105782, 3.78975, 0.556398, 0.696037, 0.385255, 0.77051,
        -1.455568, -2.149952, 0.528491, 1.222875, -4.17, 0.0, 3.010561, -2.420128, 1.45, -4.145597, 0.25,
    ),
    "Al": (
        2.863924, 1.403115, 20.418205, 23.19574, 6.613165, 3.527021, 0.314873, 0.365551, 0.379846, 0.759692,
        -2.807602, -0.301435, 1.258562, -1.247604, -2.83, 0.0, 0.622245, -2.488244, 0.785902, -2.824528, 0.85,
    ),
    "Pb": (
        3.499723, 0.647872, 8.450154, 8.450063, 9.121799, 5.212457, 0.161219, 0.236884, 0.250805, 0.764955,
        -1.42237, -0.210107, 0.682886, -0.529378, -1.44, 0.0, 0.702726, -0.538766, 0.93538, -1.439436, 0.85,
    ),
    "Fe": (
        2.481987, 1.885957, 20.041463, 20.041463, 9.81827, 5.236411, 0.392811, 0.646243, 0.170306, 0.340613,
        -2.534992, -0.059605, 0.193065, -2.282322, -2.54, 0.0, 0.200269, -0.14877, 0.39175, -2.539945, 0.85,
    ),
    "Mo": (
        2.7281, 2.72371, 29.354065, 29.354065, 8.393531, 4.47655, 0.708787, 1.120373, 0.13764, 0.27528,
        -3.692913, -0.178812, 0.38045, -3.13365, -3.71, 0.0, 0.875874, 0.776222, 0.790879, -3.712093, 0.85,
    ),
    "Ta": (
        2.860082, 3.086341, 33.787168, 33.787168, 8.489528, 4.527748, 0.611679, 1.032101, 0.176977, 0.353954,
        -5.103845, -0.405524, 1.112997, -3.585325, -5.14, 0.0, 1.640098, 0.221375, 0.848843, -5.141526, 0.85,
    ),
    "W": (
        2.74084, 3.48734, 37.234847, 37.234847, 8.900114, 4.746728, 0.882435, 1.394592, 0.139209, 0.278417,
        -4.946281, -0.148818, 0.365057, -4.432406, -4.96, 0.0, 0.661935, 0.348147, 0.582714, -4.961306, 0.85,
    ),
    "Mg": (
        3.196291, 0.544323, 7.1326, 7.1326, 10.228708, 5.455311, 0.137518, 0.22593, 0.5, 1.0,
        -0.896473, -0.044291, 0.162232, -0.68995, -0.9, 0.0, 0.122838, -0.22601, 0.431425, -0.899702, 0.85,
    ),
    "Co": (
        2.505979, 1.975299, 27.206789, 27.206789, 8.679625, 4.629134, 0.421378, 0.640107, 0.5, 1.0,
        -2.541799, -0.219415, 0.733381, -1.589003, -2.56, 0.0, 0.705845, -0.68714, 0.694608, -2.559307, 0.85,
    ),
    "Ti": (
        2.933872, 1.8632, 25.565138, 25.565138, 8.775431, 4.68023, 0.373601, 0.570968, 0.5, 1.0,
        -3.203773, -0.198262, 0.683779, -2.321732, -3.22, 0.0, 0.608587, -0.75071, 0.558572, -3.219176, 0.85,
    ),
    "Zr": (
        3.199978, 2.230909, 30.879991, 30.879991, 8.55919, 4.564902, 0.424667, 0.640054, 0.5, 1.0,
        -4.485793, -0.293129, 0.990148, -3.202516, -4.51, 0.0, 0.928602, -0.98187, 0.597133, -4.509025, 0.85,
    ),
    "Cr": (
        2.493879, 1.793835, 17.641302, 19.60545, 8.604593, 7.170494, 1.551848, 1.827556, 0.18533, 0.277995,
        -2.022754, 0.039608, -0.183611, -2.245972, -2.02, 0.0, -0.056517, 0.439144, 0.456, -2.020038, 0.85,
    ),
}  # fmt: skip
_HIGH_START = 1.15  # rho_o / rho_e
_DEFAULT_CUTOFF, _DEFAULT_WIDTH = 6.5, 0.5


def zhou2004(elements: Sequence[str], *, cutoff: float = _DEFAULT_CUTOFF, width: float = _DEFAULT_WIDTH) -> EAM:
    """Embedded-atom potential of Zhou, Johnson and Wadley for any alloy of 17 metals.

    Density and pair energy are multiplied with 1 - x^3 (10 - 15 x + 6 x^2), x = (r - cutoff + width) / width, between
    ``cutoff - width`` and ``cutoff``. They are kept as quintic polynomials in r^2 with two continuous derivatives,
    accurate to 1e-10; closer than 0.5 Å both go on linearly in r^2. The embedding energy is evaluated as it stands.

    Parameters
    ----------
    elements : sequence of str
        Chemical symbols out of Cu, Ag, Au, Ni, Pd, Pt, Al, Pb, Fe, Mo, Ta, W, Mg, Co, Ti, Zr and Cr.
    cutoff, width : float
        In Å.

    Returns
    -------
    EAM

    Raises
    ------
    TypeError
        If the elements are one string.
    ValueError
        If an element is not among the 17, is repeated, or none is given; if the cutoff or the width make no sense.
    """
    if isinstance(elements, str):
        raise TypeError(f"elements is {elements!r}; accepted is a sequence of chemical symbols, e.g. ['Cu', 'Ni']")
    symbols = list(elements)
    for symbol in symbols:
        if symbol not in PARAMETERS:
            raise ValueError(f"elements has {symbol!r}; accepted are {', '.join(PARAMETERS)}")
    if not symbols or len(set(symbols)) < len(symbols):
        raise ValueError(f"elements is {elements!r}; accepted is at least one chemical symbol, each once")
    if not (0 < width < cutoff - 1 and math.isfinite(cutoff)):
        raise ValueError(f"cutoff is {cutoff!r} and width {width!r}; accepted is 0 < width < cutoff - 1")
    columns = dict(zip(_COLUMNS, torch.tensor([PARAMETERS[symbol] for symbol in symbols], dtype=torch.float64).T))
    scale, shift = _places(cutoff, width)
    n_species = len(symbols)
    parameters = torch.zeros(1 + n_species**2 + n_species, N_PARAMETERS, dtype=torch.float64)
    parameters[0, :3] = torch.tensor([n_species, scale, shift], dtype=torch.float64)
    parameters[1 : 1 + n_species**2, 0] = cutoff**2
    parameters[1 + n_species**2 :] = _embedding_rows(columns)
    return EAM(
        species=tuple(atomic_numbers[symbol] for symbol in symbols),
        cutoff=cutoff,
        parameters=parameters,
        tables=_tables(columns, cutoff, width, scale, shift),
        kind=EAM_SQUARED,
    )


def _embedding_rows(columns: dict[str, torch.Tensor]) -> torch.Tensor:
    """Rows (S, N_PARAMETERS), in the order of ``_eam_kernels.EMBEDDING_*``."""
    low_end, high_start = columns["rho_l"] * columns["rho_e"], _HIGH_START * columns["rho_e"]
    low, middle = (torch.stack([columns[f"{piece}_{k}"] for k in range(4)], dim=1) for piece in ("low", "middle"))
    # the steps that rounding left at 0 and where the pieces meet
    at_zero = _cubic(low, -torch.ones_like(low_end))
    at_low_end = low[:, 0] - _cubic(middle, columns["rho_l"] - 1)
    low[:, 0] -= at_low_end
    low[:, 1] -= at_low_end - at_zero
    logarithm = columns["eta"] * torch.log(high_start / columns["rho_s"])
    scale = _cubic(middle, torch.full_like(low_end, _HIGH_START - 1)) / ((1 - logarithm) * logarithm.exp())
    single = torch.stack([low_end, columns["rho_e"], high_start, columns["rho_s"]], dim=1)
    return torch.cat([single, low, middle, columns["eta"][:, None], scale[:, None]], dim=1)


def _cubic(coefficients: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return (coefficients * x[:, None] ** torch.arange(4)).sum(1)


def _places(cutoff: float, width: float) -> tuple[float, float]:
    """Scale and shift of r^2 with which both ends of the switch, where the third derivative jumps, are knots."""
    upper, lower = cutoff**2, (cutoff - width) ** 2
    step = 2.0 ** (math.floor(math.log2(upper)) - (52 - KEY_SHIFT))
    scale = max(1, round((upper - lower) / step)) * step / (upper - lower)
    return scale, math.floor(scale * upper / step) * step - scale * upper


def _tables(columns: dict[str, torch.Tensor], cutoff: float, width: float, scale: float, shift: float) -> torch.Tensor:
    """Coefficients (S * S, n, 12) of the pairs: quintic Hermite interpolation of values and two derivatives."""
    last_key = int(np.float64(scale * cutoff**2 + shift).view(np.int64)) >> KEY_SHIFT
    knots = torch.from_numpy((np.arange(FIRST_KEY, last_key + 3) << KEY_SHIFT).view(np.float64))
    n_species = len(columns["r_e"])
    squares = ((knots - shift) / scale).expand(n_species, n_species, -1).clone().requires_grad_()
    step = knots.diff()
    polynomials = []
    for value in _pair_functions(columns, squares, cutoff, width):
        (slope,) = torch.autograd.grad(value.sum(), squares, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), squares, retain_graph=True)
        derivatives = torch.stack([value, slope / scale, curvature / (2 * scale**2)])
        derivatives[..., squares[0, 0] >= cutoff**2] = 0  # rounding leaves something
        polynomials.append(_hermite(derivatives.detach(), step))
    return torch.stack(polynomials, dim=-1).permute(1, 2, 3, 0, 4).reshape(n_species**2, len(step), 12).contiguous()


def _pair_functions(
    columns: dict[str, torch.Tensor], squares: torch.Tensor, cutoff: float, width: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Density given by the neighbour and half of the pair energy (centre, neighbour, n) at squared distances."""
    r = squares.sqrt()

    def of_species(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        p = {name: column.reshape(shape) for name, column in columns.items()}
        x = r / p["r_e"]
        attraction = torch.exp(-p["beta"] * (x - 1)) / (1 + (x - p["lambda"]) ** 20)
        repulsion = p["a"] * torch.exp(-p["alpha"] * (x - 1)) / (1 + (x - p["kappa"]) ** 20)
        return p["f_e"] * attraction, repulsion - p["b"] * attraction

    of_centre, centres = of_species((-1, 1, 1))
    of_neighbour, neighbours = of_species((1, -1, 1))
    pair = 0.5 * (of_neighbour / of_centre * centres + of_centre / of_neighbour * neighbours)
    x = ((r - (cutoff - width)) / width).clamp(0, 1)
    switch = 1 - x**3 * (10 - 15 * x + 6 * x**2)
    return switch * of_neighbour, 0.5 * switch * pair


def _hermite(derivatives: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Taylor coefficients (6, ..., n) of intervals from value, slope and half curvature (3, ..., n + 1) at their knots.

    The first interval is the straight line through its upper knot.
    """
    powers = step ** torch.arange(6, dtype=torch.float64).reshape(-1, *[1] * (derivatives.ndim - 1))
    left = derivatives[..., :-1] * powers[:3]
    right = derivatives[..., 1:] * powers[:3]
    value = right[0] - left.sum(0)
    slope = right[1] - left[1] - 2 * left[2]
    curvature = right[2] - left[2]
    upper = [10 * value - 4 * slope + curvature, -15 * value + 7 * slope - 2 * curvature]
    coefficients = torch.stack([*left, *upper, 6 * value - 3 * slope + curvature]) / powers
    coefficients[:, ..., 0] = 0
    coefficients[0, ..., 0] = derivatives[0, ..., 1] - derivatives[1, ..., 1] * step[0]
    coefficients[1, ..., 0] = derivatives[1, ..., 1]
    return coefficients
