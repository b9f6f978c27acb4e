"""Widths of the modes of a glass from couplings in windows of energy, none of which is kept.

The three modes of a coupling obey omega_n + omega_m = omega_l to the broadening. Modes are sorted by frequency, so that
the partners l of a block of modes m and a batch of modes n are one range, and the couplings of all of them one product
of matrices, E_l^T (A_n E_m), where A_n = Phi3 . e_n reaches second neighbours only. |Psi_nml|^2 is symmetric in its
three indices: where all modes are wanted, each triple is computed once and counted for the widths of all three.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from matterscape.kernels import launch
from matterscape.potentials.force_constants import ForceConstants
from matterscape.progress import progress
from matterscape.transport.lattice._linewidth_kernels import (
    LORENTZ,
    TRIANGLE,
    add_own,
    add_triples,
    own_reference,
    triples_reference,
)
from matterscape.transport.lattice._panel_kernels import multiply_panel, panel_reference
from matterscape.transport.lattice.unfinished import UnfinishedSum

if TYPE_CHECKING:
    from distributed import Client

#: Most modes m of a block, most modes n of a batch, and how many of either come together at any distance.
MODES_PER_BLOCK, MODES_PER_BATCH, LEAST_MODES = 64, 16, 8


@dataclass(frozen=True, eq=False)
class WindowedSum:
    """What the sums over triples of modes need.

    Attributes
    ----------
    third_order : object
        With ``contract(vector)``, that gives Phi3 . e as :class:`ForceConstants` in eV/Å^3.
    vectors : ndarray (3 n, M), float64 or float32
        Eigenvectors of the vibrating modes, in whose precision the couplings are computed.
    omega : ndarray (M,)
        Their frequencies in rad/ps, ascending.
    masses : ndarray (n,)
        In amu.
    quanta : ndarray (T, M)
        Their occupations at T temperatures.
    zero_point : float
        1, or 0 in classical statistics.
    width : float
        Of the peaks that conserve energy, in rad/ps.
    shape : int
        One of GAUSS, TRIANGLE, LORENTZ.
    device : str
        Where torch computes.
    compiled : bool
        Whether the compiled bodies of the kernels are used, on the CPU alone, or those of torch.
    """

    third_order: Any
    vectors: np.ndarray
    omega: np.ndarray
    masses: np.ndarray
    quanta: np.ndarray
    zero_point: float
    width: float
    shape: int
    device: str = "cpu"
    compiled: bool = True
    _on_device: dict[str, torch.Tensor] = field(default_factory=dict, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_on_device": {}}

    def _tensor(self, name: str) -> torch.Tensor:
        """An attribute on the device."""
        if name not in self._on_device:
            self._on_device[name] = torch.from_numpy(getattr(self, name)).to(self.device)
        return self._on_device[name]

    @property
    def reach(self) -> float:
        """How far from energy conservation couplings count, in rad/ps."""
        return {LORENTZ: np.inf, TRIANGLE: self.width}.get(self.shape, 2 * self.width)

    def every(self, client: "Client | None" = None, file: Path | None = None) -> np.ndarray:
        """Sums (T, M) for all modes: each triple once."""
        batches = list(self._split(np.arange(len(self.omega)), MODES_PER_BATCH))
        with UnfinishedSum(self.quanta.shape, file, "" if file is None else self._fingerprint()) as total:
            for part in _mapped(_of_triples, self, batches[total.done :], client):
                total.append(part)
        return total.values

    def chosen(self, modes: np.ndarray, client: "Client | None" = None) -> np.ndarray:
        """Sums (T, K) for K modes, ascending places among the M."""
        batches = list(self._split(modes, MODES_PER_BATCH))
        return np.concatenate(list(_mapped(_of_modes, self, batches, client)), axis=1)

    def _split(self, modes: np.ndarray, most: int) -> Iterator[np.ndarray]:
        """Ranges of modes of about one frequency: together they widen a window by no more than half."""
        start = 0
        for stop in range(1, len(modes) + 1):
            size = stop - start
            far = stop < len(modes) and self.omega[modes[stop]] - self.omega[modes[start]] > 0.25 * self.reach
            if stop == len(modes) or size == most or (far and size >= min(LEAST_MODES, most)):
                yield modes[start:stop]
                start = stop

    def _window(self, low: float, high: float) -> slice:
        """Modes whose frequencies are within reach of a range."""
        return slice(*np.searchsorted(self.omega, (low - self.reach, high + self.reach)))

    def _contracted(self, modes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mass-weighted A = Phi3 . e of some modes: where rows start, columns, blocks (B, P, 3, 3)."""
        roots = np.sqrt(self.masses)
        parts = [
            self.third_order.contract(self.vectors[:, n].astype(np.float64).reshape(-1, 3) / roots[:, None])
            for n in modes
        ]
        pattern = parts[0]
        if not all(_same_pattern(pattern, part) for part in parts):
            pattern = sum(parts[1:], start=pattern)
            parts = [part + 0.0 * pattern for part in parts]
        weights = 1 / (roots[pattern.first] * roots[pattern.second])
        blocks = np.empty((len(parts), len(weights), 3, 3), self.vectors.dtype)
        for row, part in zip(blocks, parts):
            np.multiply(part.blocks, weights[:, None, None], out=row, casting="same_kind")
        matrices = np.searchsorted(pattern.first, np.arange(len(roots) + 1)), pattern.second, blocks
        return matrices if self.compiled else tuple(torch.from_numpy(part).to(self.device) for part in matrices)

    def _products(self, matrices: tuple, block: np.ndarray) -> torch.Tensor:
        """Columns (3 n, B W) are A_n e_m of a batch of n and a block of consecutive m."""
        panel = self._tensor("vectors")[:, block[0] : block[-1] + 1].reshape(len(self.masses), 3, -1)
        if self.compiled:
            product = torch.empty((*panel.shape[:2], len(matrices[2]), len(block)), dtype=panel.dtype)
            _run(multiply_panel, *matrices, panel.contiguous().numpy(), product.numpy())
        else:
            product = panel_reference(*matrices, panel)
        return product.view(panel.shape[0] * 3, -1)

    def _couplings(self, products: torch.Tensor, window: slice, n_own: int) -> torch.Tensor:
        """Psi (B, W, L) of the modes of ``products`` with a window of modes l."""
        found = products.T @ self._tensor("vectors")[:, window]
        return found.view(n_own, -1, found.shape[1])

    def of_triples(self, own: np.ndarray) -> np.ndarray:
        """Sums (T, M) from the triples whose first mode is one of a batch and whose second is not below it."""
        omega = self.omega
        sums = np.zeros((len(own), *self.quanta.shape))
        matrices = self._contracted(own)
        highest = np.searchsorted(omega, omega[-1] + self.reach - omega[own[0]], side="right")
        for block in self._split(np.arange(own[0], highest), MODES_PER_BLOCK):
            window = self._window(omega[own[0]] + omega[block[0]], omega[own[-1]] + omega[block[-1]])
            if window.start == window.stop:
                continue
            couplings = self._couplings(self._products(matrices, block), window, len(own))
            places, rule = (own[0], block[0], window.start), (self.zero_point, self.width, self.shape)
            if self.compiled:
                _run(add_triples, couplings.numpy(), *places, omega, self.quanta, *rule, sums)
            else:
                found = triples_reference(couplings, *places, self._tensor("omega"), self._tensor("quanta"), *rule)
                sums[0] += found.cpu().numpy()
        return sums.sum(axis=0)

    def of_modes(self, own: np.ndarray) -> np.ndarray:
        """Sums (T, B) of the modes of a batch, from all pairs that they decay to or merge with."""
        omega = self.omega
        sums = np.zeros((len(self.quanta), len(own)))
        matrices = self._contracted(own)
        for block in self._split(np.arange(len(omega)), MODES_PER_BLOCK):
            windows = {
                1.0: self._window(omega[own[0]] + omega[block[0]], omega[own[-1]] + omega[block[-1]]),
                -1.0: self._window(omega[own[0]] - omega[block[-1]], omega[own[-1]] - omega[block[0]]),
            }
            # of a decay, only the order with m below l
            windows[-1.0] = slice(max(windows[-1.0].start, block[0]), windows[-1.0].stop)
            windows = {sign: window for sign, window in windows.items() if window.start < window.stop}
            if not windows:
                continue
            products = self._products(matrices, block)
            for sign, window in windows.items():
                couplings = self._couplings(products, window, len(own))
                places, rule = (own, block[0], window.start, sign), (self.zero_point, self.width, self.shape)
                if self.compiled:
                    _run(add_own, couplings.numpy(), *places, omega, self.quanta, *rule, sums)
                else:
                    found = own_reference(couplings, *places, self._tensor("omega"), self._tensor("quanta"), *rule)
                    sums += found.cpu().numpy()
        return sums

    def _fingerprint(self) -> str:
        """Of everything that decides about the sums, Phi3 by what it makes of the fastest mode."""
        digest = hashlib.sha256()
        third = self.third_order.contract(self.vectors[:, -1].astype(np.float64)).blocks
        for part in (
            self.vectors,
            self.omega,
            self.masses,
            self.quanta,
            third,
            self.zero_point,
            self.width,
            self.shape,
        ):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


def _run(kernel: Any, *arguments: Any) -> None:
    """Run a kernel, and say so if this is what compiles it."""
    with launch(None if kernel.signatures else "linewidths"):
        kernel(*arguments)


def _of_triples(sums: WindowedSum, own: np.ndarray) -> np.ndarray:
    return sums.of_triples(own)


def _of_modes(sums: WindowedSum, own: np.ndarray) -> np.ndarray:
    return sums.of_modes(own)


def _mapped(function: Any, sums: WindowedSum, batches: Sequence, client: "Client | None") -> Iterator[np.ndarray]:
    """``function(sums, batch)`` of each batch, in their order, here or on the workers of a cluster."""
    if client is None:
        yield from (function(sums, batch) for batch in progress(batches, "Widths of modes"))
        return
    # no hash: equal sums of another call may just be on their way out
    [sent] = client.scatter([sums], broadcast=True, hash=False)
    futures = [client.submit(function, sent, batch, pure=False) for batch in batches]
    try:
        yield from (future.result() for future in progress(futures, "Widths of modes"))
    finally:
        client.cancel(futures)


def _same_pattern(one: ForceConstants, other: ForceConstants) -> bool:
    return np.array_equal(one.first, other.first) and np.array_equal(one.second, other.second)
