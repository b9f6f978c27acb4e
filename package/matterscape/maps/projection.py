"""Low-dimensional maps of features: PCA, PCovR and their kernel versions (scikit-learn, scikit-matter)."""

from dataclasses import dataclass

import numpy as np

from matterscape.maps.selection import select
from matterscape.uq.arrays import feature_matrix, target_vector

METHODS = ("pca", "kpca", "pcovr", "kpcovr")
SUPERVISED = ("pcovr", "kpcovr")
MAX_COLUMNS = 512  # principal components that the supervised and kernel maps start from
MAX_LANDMARKS = 2000


@dataclass(frozen=True)
class Projection:
    """Coordinates of samples on a map.

    Attributes
    ----------
    coordinates : array (n_samples, n_components), float64
    explained_variance : array (n_components,)
        Share of the variance of the standardised features (of the kernel, for kernel maps) along each coordinate.
    target_r2 : float or None
        Share of the target's variance that a linear function of the coordinates explains; None without targets.
    method : str
    labels : tuple of str
        Name of each coordinate, such as ``PCA 1``.
    """

    coordinates: np.ndarray
    explained_variance: np.ndarray
    target_r2: float | None
    method: str
    labels: tuple[str, ...]


def project(
    features,
    method: str = "pca",
    *,
    targets=None,
    mixing: float = 0.5,
    n_components: int = 2,
    gamma: float = 0.5,
    max_landmarks: int = MAX_LANDMARKS,
    seed: int = 0,
) -> Projection:
    """Project features onto a few coordinates.

    Features are centred and divided by one number that makes their total variance one. PCovR mixes the variance of the
    features with the target: ``mixing`` 1 is PCA, 0 a pure regression. Kernel maps use exp(-gamma d^2) in the
    standardised features, whose mean squared distance is 2. Supervised and kernel maps work on the leading 512
    principal components, and kernel maps are fitted on at most ``max_landmarks`` farthest points, then applied to all.

    Parameters
    ----------
    features : array or tensor (n_samples, n_features)
    method : "pca", "kpca", "pcovr" or "kpcovr"
    targets : array (n_samples,), optional
        Needed by "pcovr" and "kpcovr"; standardised here.
    mixing : float
        From 0 to 1.
    n_components : int
    gamma : float
        Inverse squared length of the Gaussian kernel, positive.
    max_landmarks : int
    seed : int
        Of randomised decompositions and of the landmarks.

    Returns
    -------
    Projection
        The largest coordinate of each component is positive, so that signs are reproducible.

    Raises
    ------
    ValueError
        If an option is out of range, targets are missing or not finite, or all samples have the same features.

    References
    ----------
    Helfrecht, Cersonsky, Fraux, Ceriotti, Mach. Learn.: Sci. Technol. 1, 045021 (2020).
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if not 0 <= mixing <= 1:
        raise ValueError(f"mixing must lie between 0 and 1, got {mixing}")
    if not (np.isfinite(gamma) and gamma > 0):
        raise ValueError(f"gamma must be a positive number, got {gamma}")
    supervised = method in SUPERVISED
    if supervised and targets is None:
        raise ValueError(f"targets must be given for method {method!r}")
    x = feature_matrix(features)
    limit = min(x.shape) if method == "pca" else min(len(x) - 1, x.shape[1])
    if not 1 <= n_components <= limit:
        raise ValueError(
            f"n_components must lie between 1 and {limit} for features of shape {x.shape}, got {n_components}"
        )
    if max_landmarks <= n_components:
        raise ValueError(f"max_landmarks must exceed n_components, got {max_landmarks}")
    y = None if targets is None else target_vector(targets, len(x))
    if y is not None:
        if np.ptp(y) == 0:
            raise ValueError(f"targets must vary, got {y[0]:g} for every sample")
        y = (y - y.mean()) / y.std()

    x = _standardised(x)
    if method == "pca":
        from sklearn.decomposition import PCA

        coordinates = PCA(n_components, svd_solver=_solver(x), random_state=seed).fit_transform(x)
        explained = np.square(coordinates, dtype=np.float64).sum(axis=0) / len(x)
    elif method == "pcovr":
        x = _leading_components(x, seed)
        coordinates = _pcovr(x, y, mixing, n_components, seed)
        explained = _explained(coordinates, lambda q: np.sum((q.T @ x) ** 2, axis=1) / np.sum(x**2))
    else:
        x = _leading_components(x, seed)
        coordinates, explained = _kernel_map(
            x, y if supervised else None, mixing, n_components, gamma, max_landmarks, seed
        )

    coordinates = np.asarray(coordinates, dtype=np.float64).reshape(len(x), -1)
    largest = np.argmax(np.abs(coordinates), axis=0)
    coordinates = coordinates * np.where(coordinates[largest, range(coordinates.shape[1])] < 0, -1.0, 1.0)
    name = {"pca": "PCA", "kpca": "KPCA", "pcovr": "PCovR", "kpcovr": "KPCovR"}[method]
    labels = tuple(f"{name} {k + 1}" for k in range(coordinates.shape[1]))
    return Projection(coordinates, explained, None if y is None else _linear_r2(coordinates, y), method, labels)


def _standardised(x: np.ndarray) -> np.ndarray:
    from skmatter.preprocessing import StandardFlexibleScaler

    spread, size = np.ptp(x, axis=0).max(), np.abs(x).max()
    if spread <= 16 * np.finfo(x.dtype).eps * size:
        raise ValueError("features must differ between samples, got the same row for all of them")
    # the scaler takes variances below 1e-12 for zero; the overall magnitude of features is arbitrary
    return StandardFlexibleScaler(column_wise=False).fit_transform(x / spread)


def _solver(x: np.ndarray) -> str:
    return "full" if min(x.shape) <= 2 * MAX_COLUMNS else "randomized"


def _leading_components(x: np.ndarray, seed: int) -> np.ndarray:
    """Principal components that carry the variance, at most 512, in float64: distances and products are kept."""
    from sklearn.decomposition import PCA

    n_columns = min(*x.shape, MAX_COLUMNS)
    components = PCA(n_columns, svd_solver=_solver(x), random_state=seed).fit_transform(x).astype(np.float64)
    components -= components.mean(axis=0)  # single precision leaves a remainder
    squares = np.sum(components**2, axis=0)
    return components[:, squares > 1e-12 * squares[0]]


def _pcovr(x: np.ndarray, y: np.ndarray, mixing: float, n_components: int, seed: int) -> np.ndarray:
    from sklearn.linear_model import Ridge
    from skmatter.decomposition import PCovR

    if x.shape[1] == 1:
        return x
    regressor = Ridge(alpha=1e-6 * len(x) / x.shape[1], fit_intercept=False)
    n_components = min(n_components, x.shape[1])
    model = PCovR(mixing=mixing, n_components=n_components, regressor=regressor, svd_solver="full", random_state=seed)
    return model.fit(x, y[:, None]).transform(x)


def _kernel_map(x, y, mixing, n_components, gamma, max_landmarks, seed):
    landmarks = np.arange(len(x)) if len(x) <= max_landmarks else np.sort(select(x, max_landmarks, seed=seed))
    chosen = x[landmarks]
    if y is None:
        from sklearn.decomposition import KernelPCA

        model = KernelPCA(n_components, kernel="rbf", gamma=gamma, eigen_solver="auto", random_state=seed).fit(chosen)
        total = len(chosen) - _kernel(chosen, gamma).mean(axis=0).sum()  # trace of the centred kernel
        return model.transform(x), model.eigenvalues_ / total
    from sklearn.kernel_ridge import KernelRidge
    from skmatter.decomposition import KernelPCovR

    regressor = KernelRidge(alpha=1e-6 * len(chosen), kernel="rbf", gamma=gamma)
    model = KernelPCovR(
        mixing=mixing, n_components=n_components, regressor=regressor, kernel="rbf", gamma=gamma, center=True
    )
    model.set_params(random_state=seed)
    model.fit(chosen, y[landmarks, None])
    kernel = _kernel(chosen, gamma)
    means = kernel.mean(axis=0)
    kernel = kernel - means - means[:, None] + means.mean()

    def share(q):
        return np.einsum("nk,nm,mk->k", q, kernel, q, optimize=True) / np.trace(kernel)

    coordinates = model.transform(x)
    return coordinates, _explained(coordinates[landmarks], share)


def _kernel(x: np.ndarray, gamma: float) -> np.ndarray:
    from sklearn.metrics.pairwise import rbf_kernel

    return rbf_kernel(x, gamma=gamma)


def _explained(coordinates: np.ndarray, share) -> np.ndarray:
    """Share of the variance along each coordinate beyond that of the coordinates before it."""
    q, _ = np.linalg.qr(coordinates - coordinates.mean(axis=0))
    return share(q)


def _linear_r2(coordinates: np.ndarray, y: np.ndarray) -> float:
    design = np.column_stack([coordinates, np.ones(len(y))])
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float(1.0 - residual @ residual / (y @ y))
