"""Variances with all parameters of a network, the reference that the last layer is held against.

With the Jacobian G of the training outputs and g of a new one, the variance is g^T (G^T G + s)^-1 g for a squared loss
(generalised Gauss-Newton approximation). With more parameters than samples it follows from the empirical tangent
kernel G G^T (Bigi et al., Mach. Learn.: Sci. Technol. 5, 045018 (2024)).
"""

from collections.abc import Iterator

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve

from matterscape.checks import check_number, check_whole
from matterscape.uq.last_layer import check_module, evaluation_mode
from matterscape.uq.rigidity import Rigidity, gram

FORMS = ("primal", "kernel")


def full_rigidity_variance(
    module: torch.nn.Module,
    train_inputs: torch.Tensor,
    inputs: torch.Tensor,
    regularisation: float,
    *,
    variance_scale: float = 1.0,
    form: str | None = None,
    batch_size: int = 256,
) -> np.ndarray:
    """Variance alpha^2 g^T (G^T G + regularisation 1)^-1 g of each output, with g its derivatives by all parameters.

    Parameters
    ----------
    module : torch.nn.Module
        One number per sample, (n_samples,) or (n_samples, 1), from a tensor with one sample per row. Runs in
        evaluation mode; its parameters that require gradients are those that count.
    train_inputs : tensor (n_train, ...)
    inputs : tensor (n_samples, ...)
    regularisation : float
        Positive.
    variance_scale : float
    form : "primal" or "kernel", optional
        Solve in the space of the parameters or of the training samples; the smaller of the two by default. Either
        keeps its square matrix in memory, and the kernel also the derivatives of all samples by the largest
        parameter tensor.
    batch_size : int
        Samples that are differentiated at a time.

    Returns
    -------
    array (n_samples,), float64

    Raises
    ------
    TypeError
        If ``module`` is no module of torch.
    ValueError
        If the module has no parameter to differentiate by, an output is not one finite number, an input set is
        empty, or an option is out of range.
    """
    check_number("regularisation", regularisation, positive=True)
    check_number("variance_scale", variance_scale, positive=True)
    check_whole("batch_size", batch_size, 1, "number of samples")
    if form not in (None, *FORMS):
        raise ValueError(f"form must be 'primal' or 'kernel', got {form!r}")
    check_module("module", module)
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters() if parameter.requires_grad}
    if not sizes:
        raise ValueError("module must have parameters that require gradients, got none")
    for name, samples in (("train_inputs", train_inputs), ("inputs", inputs)):
        if not isinstance(samples, torch.Tensor) or samples.ndim == 0 or len(samples) == 0:
            raise ValueError(f"{name} must be a tensor with at least one sample")
    if form is None:
        form = "primal" if sum(sizes.values()) <= len(train_inputs) else "kernel"
    with evaluation_mode(module):
        if form == "primal":
            model = Rigidity(gram(_jacobian_blocks(module, list(sizes), train_inputs, batch_size)), regularisation)
            blocks = _jacobian_blocks(module, list(sizes), inputs, batch_size)
            result = np.concatenate([model.leverages(block) for block in blocks])
        else:
            result = _kernel_form(module, list(sizes), train_inputs, inputs, regularisation, batch_size)
    return variance_scale * result


def _kernel_form(
    module: torch.nn.Module,
    names: list[str],
    train_inputs: torch.Tensor,
    inputs: torch.Tensor,
    regularisation: float,
    batch_size: int,
) -> np.ndarray:
    """Uncalibrated variances, one parameter tensor after another.

    With a = (K + s)^-1 k the variance is (|g - G^T a|^2 + s |a|^2) / s, which is s^-1 (g.g - k.a) without the
    cancellation.
    """
    kernel = np.zeros((len(train_inputs), len(train_inputs)))
    cross = np.zeros((len(inputs), len(train_inputs)))
    for name in names:
        train = np.concatenate(list(_jacobian_blocks(module, [name], train_inputs, batch_size)))
        kernel += train @ train.T
        for rows, block in _row_slices(_jacobian_blocks(module, [name], inputs, batch_size)):
            cross[rows] += block @ train.T
    kernel[np.diag_indices_from(kernel)] += regularisation
    solution = cho_solve(cho_factor(kernel, lower=True, overwrite_a=True), cross.T).T
    total = regularisation * np.square(solution).sum(axis=1)
    for name in names:
        train = np.concatenate(list(_jacobian_blocks(module, [name], train_inputs, batch_size)))
        for rows, block in _row_slices(_jacobian_blocks(module, [name], inputs, batch_size)):
            total[rows] += np.square(block - solution[rows] @ train).sum(axis=1)
    return total / regularisation


def _row_slices(blocks: Iterator[np.ndarray]) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of rows with the rows that they are."""
    start = 0
    for block in blocks:
        yield slice(start, start + len(block)), block
        start += len(block)


def _jacobian_blocks(
    module: torch.nn.Module, names: list[str], samples: torch.Tensor, batch_size: int
) -> Iterator[np.ndarray]:
    """Derivatives of the outputs by the named parameters, blocks (n_block, n_parameters) in float64."""
    constants = {name: parameter.detach() for name, parameter in module.named_parameters()}
    parameters = {name: constants.pop(name) for name in names}

    def output(values: dict[str, torch.Tensor], sample: torch.Tensor) -> torch.Tensor:
        result = torch.func.functional_call(module, {**constants, **values}, (sample[None],))
        if not isinstance(result, torch.Tensor) or result.numel() != 1:
            raise ValueError("module must give one number per sample")
        return result.reshape(())

    derivatives = torch.func.vmap(torch.func.grad(output), in_dims=(None, 0))
    for batch in samples.detach().split(batch_size):
        gradients = derivatives(parameters, batch)
        block = torch.cat([gradients[name].reshape(len(batch), -1) for name in names], dim=1)
        block = block.to("cpu", torch.float64).numpy()
        if not np.isfinite(block.sum()):
            raise ValueError("module must have finite derivatives by its parameters, got NaN or infinity")
        yield block
