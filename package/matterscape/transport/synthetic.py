"""Currents made of nothing but a chosen spectral matrix and a seed: every estimate has a truth to be held against."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import fft

from matterscape.checks import check_number, check_whole
from matterscape.transport.currents import Currents

SpectralFunction = Callable[[np.ndarray], np.ndarray]


def spectral_matrix(first: SpectralFunction, second: SpectralFunction, coherence: SpectralFunction) -> SpectralFunction:
    """Spectral matrix of two currents from their spectra and their coherence.

    S_12 = S_21 = rho sqrt(S_11 S_22), real as time reversal demands of currents of equal parity.

    Parameters
    ----------
    first, second, coherence : callable
        S_11(f), S_22(f) and rho(f) of frequencies (F,) in THz; |rho| < 1.

    Returns
    -------
    callable
        The matrix (F, 2, 2) of frequencies (F,).
    """

    def matrix(frequencies_THz: np.ndarray) -> np.ndarray:
        one, two, rho = (
            np.broadcast_to(function(frequencies_THz), frequencies_THz.shape) for function in (first, second, coherence)
        )
        cross = rho * np.sqrt(one * two)
        return np.stack([one, cross, cross, two], axis=-1).reshape(-1, 2, 2)

    return matrix


def synthetic_currents(
    spectrum: SpectralFunction,
    names: str | Sequence[str] = "energy",
    *,
    n_samples: int,
    timestep_fs: float,
    n_segments: int = 1,
    n_components: int = 3,
    temperature_K: float = 1000.0,
    volume: float = 1.0e4,
    kinds: Sequence[str] | None = None,
    seed: int | np.random.Generator = 0,
) -> Currents:
    """Stationary Gaussian currents whose spectral matrix is known exactly.

    Normal random numbers are coloured by the Cholesky factor of the matrix at each frequency and transformed back. The
    series are periodic, so that each sampled spectral matrix follows the Wishart law exactly, without leakage.

    Parameters
    ----------
    spectrum : callable
        Two-sided spectrum S(f) of frequencies (F,) in THz, in (unit of a)(unit of b) ps: (F,) of one current, or a
        positive definite matrix (F, M, M), such as that of :func:`spectral_matrix`.
    names : str or sequence of str
        Of the M currents.
    n_samples : int
        Of each segment, even.
    timestep_fs : float
        Time between two samples in fs.
    n_segments, n_components : int
        Independent copies.
    temperature_K, volume : float
        In K and Å^3.
    kinds : sequence of str, optional
        By default the names.
    seed : int or numpy.random.Generator

    Returns
    -------
    Currents

    Raises
    ------
    ValueError
        If the number of samples is odd, or the spectrum has another shape or is not positive definite somewhere.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    check_whole("n_samples", n_samples, 4)
    if n_samples % 2:
        raise ValueError(f"n_samples is {n_samples}; accepted is an even number")
    for name, number in (("n_segments", n_segments), ("n_components", n_components)):
        check_whole(name, number, 1)
    check_number("timestep_fs", timestep_fs, "fs", positive=True)
    timestep_ps = timestep_fs * 1e-3
    frequencies = fft.rfftfreq(n_samples, timestep_ps)
    factors = _factors(spectrum(frequencies), frequencies, len(names))

    rng = np.random.default_rng(seed)
    values = np.empty((len(names), n_segments, n_components, n_samples))
    scale = np.sqrt(n_samples / timestep_ps)
    for segment in range(n_segments):
        for component in range(n_components):
            noise = rng.normal(scale=np.sqrt(0.5), size=(2, len(names), len(frequencies)))
            transform = noise[0] + 1j * noise[1]
            transform[:, [0, -1]] = np.sqrt(2.0) * noise[0][:, [0, -1]]  # real at frequency zero and Nyquist
            coloured = np.einsum("fab,bf->af", factors, transform)
            values[:, segment, component] = fft.irfft(scale * coloured, n_samples)
    return Currents(
        values, names, timestep_fs=timestep_fs, temperature_K=temperature_K, volume=volume, kinds=kinds or names
    )


def _factors(matrices: np.ndarray, frequencies: np.ndarray, n_currents: int) -> np.ndarray:
    """Cholesky factors (F, M, M)."""
    matrices = np.asarray(matrices)
    if matrices.ndim == 1 and n_currents == 1:
        matrices = matrices[:, None, None]
    expected = (len(frequencies), n_currents, n_currents)
    if matrices.shape != expected:
        raise ValueError(
            f"spectrum gives an array {matrices.shape}; accepted is {expected}, a matrix for each frequency"
        )
    # eigenvalues of the matrix of coherences, whose scale is 1
    scales = np.sqrt(np.abs(np.einsum("faa->fa", matrices).real))
    with np.errstate(divide="ignore", invalid="ignore"):
        coherences = matrices / (scales[:, :, None] * scales[:, None, :])
    known = np.isfinite(coherences).all(axis=(1, 2))
    smallest = np.full(len(frequencies), -np.inf)
    smallest[known] = np.linalg.eigvalsh(coherences[known])[:, 0]
    if smallest.min() < 1e-12:
        worst = int(np.argmin(smallest))
        raise ValueError(
            f"spectrum is not positive definite at {frequencies[worst]:g} THz; accepted are positive spectra with "
            "coherences between -1 and 1"
        )
    return np.linalg.cholesky(matrices)
