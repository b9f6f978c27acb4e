"""One mechanism for all kernels: numba body, torch reference body, analytic derivative -> one torch operator.

A kernel has three parts that never mix:

- ``body``: numpy arrays in, numpy arrays out; it allocates its outputs and calls numba-compiled loops. Runs on CPU.
- ``reference``: the same function in vectorised torch, with type annotations. It runs on every other device, is what
  the tests hold the body against, and its signature is the operator's.
- ``derivative``: ``(inputs, output_gradients) -> input gradients``, built from other operators and torch, hence itself
  differentiable. This is what gives double backward.
"""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numba
import numpy as np
import torch

from matterscape.kernels.threads import get_threads

FLOATS = (torch.float32, torch.float64)

# numba's threading layers do not all allow concurrent launches from several Python threads
_launch = threading.RLock()
_detach_inputs = False


@contextlib.contextmanager
def launch(first_use_of: str | None = None) -> Iterator[None]:
    """Numba kernels called inside use the package's number of threads, and no other Python thread launches any.

    Parameters
    ----------
    first_use_of : str, optional
        Name of a kernel that this call may have to compile, which is said if it takes more than a second.
    """
    with _launch:
        numba.set_num_threads(get_threads())  # a setting of the calling thread
        with contextlib.nullcontext() if first_use_of is None else _compile_notice(first_use_of):
            yield


@contextlib.contextmanager
def parameters_only() -> Iterator[None]:
    """Gradients taken inside are differentiable in the incoming gradient only.

    Training on forces needs d(forces)/d(parameters), never d(forces)/d(positions). A graph created inside this block
    leaves the latter out, which saves the second derivatives of every kernel.
    """
    global _detach_inputs
    before, _detach_inputs = _detach_inputs, True
    try:
        yield
    finally:
        _detach_inputs = before


class Operator:
    """A torch operator ``matterscape::<name>`` with a numba body on CPU and a torch body elsewhere.

    Parameters
    ----------
    name : str
        Unique name inside the ``matterscape`` namespace.
    reference : callable
        Vectorised torch implementation whose annotated signature defines the operator's.
    body : callable
        Same arguments with contiguous ``numpy`` arrays in place of tensors; returns one array or a tuple of arrays
        that share no memory with the inputs.
    fake : callable
        Same arguments; returns empty tensors of the right shape and dtype (for tracing).
    derivative : callable, optional
        ``derivative(inputs, output_gradients)`` returns one gradient (or None) per input. ``inputs`` are the operator's
        arguments, ``output_gradients`` a tuple of tensors.
    fill_missing : bool
        Whether ``derivative`` gets zeros (default) or None for outputs that nothing depends on.
    """

    def __init__(
        self,
        name: str,
        *,
        reference: Callable[..., Any],
        body: Callable[..., Any],
        fake: Callable[..., Any],
        derivative: Callable[[Sequence[Any], tuple[torch.Tensor, ...]], Sequence[Any]] | None = None,
        fill_missing: bool = True,
    ):
        self.name = name
        self.reference = reference
        self._body = body
        self._compiled: set[tuple] = set()
        schema = torch.library.infer_schema(reference, mutates_args=())
        self._operator = torch.library.custom_op(
            f"matterscape::{name}", self._on_cpu, mutates_args=(), schema=schema, device_types="cpu"
        )
        for device in ("cuda", "mps", "xpu"):
            self._operator.register_kernel(device)(reference)
        self._operator.register_fake(fake)
        if derivative is not None:
            self._operator.register_autograd(self._backward(derivative, fill_missing), setup_context=_keep_inputs)
        self.__doc__ = reference.__doc__

    def __call__(self, *arguments: Any) -> Any:
        devices = set()
        for argument in arguments:
            if isinstance(argument, torch.Tensor):
                devices.add(argument.device)
                if argument.is_floating_point() and argument.dtype not in FLOATS:
                    raise TypeError(f"{self.name}: a tensor is {argument.dtype}; accepted are float32 and float64")
        if len(devices) > 1:
            names = ", ".join(sorted(map(str, devices)))
            raise ValueError(f"{self.name}: tensors are on {names}; all of them must be on one device")
        return self._operator(*arguments)

    @property
    def torch_operator(self) -> Any:
        """The registered ``torch.library`` operator, e.g. for ``torch.library.opcheck``."""
        return self._operator

    def _on_cpu(self, *arguments: Any) -> Any:
        converted = [np.ascontiguousarray(a.detach().numpy()) if isinstance(a, torch.Tensor) else a for a in arguments]
        key = tuple((a.dtype.char, a.ndim) if isinstance(a, np.ndarray) else type(a) for a in converted)
        with launch(None if key in self._compiled else self.name):
            result = self._body(*converted)
        self._compiled.add(key)
        if isinstance(result, tuple):
            return tuple(torch.from_numpy(array) for array in result)
        return torch.from_numpy(result)

    @staticmethod
    def _backward(derivative: Callable[..., Any], fill_missing: bool) -> Callable[..., Any]:
        def backward(ctx: Any, *gradients: torch.Tensor | None) -> Any:
            saved = iter(ctx.saved_tensors)
            inputs = [next(saved) if is_tensor else value for is_tensor, value in ctx.arguments]
            if _detach_inputs:
                inputs = [a.detach() if isinstance(a, torch.Tensor) else a for a in inputs]
            filled = tuple(
                torch.zeros(shape, dtype=dtype, device=device) if gradient is None and fill_missing else gradient
                for gradient, (shape, dtype, device) in zip(gradients, ctx.outputs)
            )
            results = tuple(derivative(inputs, filled))
            return tuple(g if needed else None for g, needed in zip(results, ctx.needs_input_grad))

        return backward


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.set_materialize_grads(False)
    ctx.arguments = [(True, None) if isinstance(a, torch.Tensor) else (False, a) for a in inputs]
    ctx.save_for_backward(*(a for a in inputs if isinstance(a, torch.Tensor)))
    outputs = output if isinstance(output, tuple) else (output,)
    ctx.outputs = [(o.shape, o.dtype, o.device) for o in outputs]


@contextlib.contextmanager
def _compile_notice(name: str) -> Iterator[None]:
    """Say once that a first call is busy compiling, if that takes more than a second."""

    def say() -> None:
        print(f"matterscape: compiling kernel '{name}' (first use on this machine, kept for later)", file=sys.stderr)

    timer = threading.Timer(1.0, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
