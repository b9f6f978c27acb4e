"""Small networks and how they are trained.

The networks here have thousands of weights, not millions: what costs time is the number of calls to torch, not the
arithmetic. So the data stay whole tensors that every step indexes, the optimiser is one fused call, and torch keeps to
one thread, whose neighbours would only wait for each other.
"""

import math
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from matterscape.checks import check_number, check_whole
from matterscape.progress import progress as progress_bar
from matterscape.uq.ensembles import seeded_generator, seeded_linear
from matterscape.uq.last_layer import check_module

ACTIVATIONS = {"silu": nn.SiLU, "tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}
SCHEDULES = ("cosine", "constant")


def layer_widths(name: str, widths: Sequence[int]) -> tuple[int, ...]:
    """Widths of layers as whole numbers, at least 1; the name is that of the argument in messages."""
    if isinstance(widths, str) or not isinstance(widths, Iterable):
        raise TypeError(f"{name} must be a list of the widths of layers, got {widths!r}")
    widths = tuple(widths)
    for width in widths:
        check_whole(name, width, 1, "number of units")
    return tuple(map(int, widths))


def multilayer_perceptron(
    widths: Sequence[int], activation: str = "silu", dtype: torch.dtype = torch.float64, *, seed: int = 0
) -> nn.Sequential:
    """Linear layers with an activation between each two of them; the last one is linear.

    Parameters
    ----------
    widths : sequence of int
        Number of inputs, of each hidden layer, and of outputs.
    activation : "silu", "tanh", "relu" or "gelu"
    dtype : torch.dtype
    seed : int
        Of the first weights, uniform within one over the root of the number of inputs of their layer.

    Returns
    -------
    torch.nn.Sequential

    Raises
    ------
    TypeError
        If the widths are no list.
    ValueError
        If there are fewer than two widths, one is not positive, or the activation is unknown.
    """
    widths = layer_widths("widths", widths)
    if len(widths) < 2:
        raise ValueError(f"widths must name at least the inputs and the outputs, got {list(widths)}")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; accepted are {', '.join(ACTIVATIONS)}")
    generator = seeded_generator(seed, 0)
    layers: list[nn.Module] = []
    for n_inputs, n_outputs in pairwise(widths):
        layers += [seeded_linear(n_inputs, n_outputs, generator, dtype=dtype), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def shuffled_batches(n_samples: int, batch_size: int) -> Callable[[np.random.Generator], Iterator[Tensor]]:
    """Batches of sample indices in a new order every epoch, for :func:`train`; all of about the same size.

    Parameters
    ----------
    n_samples : int
    batch_size : int
        The largest number of samples in a batch.

    Returns
    -------
    callable
        From a random generator to an iterator of index tensors.
    """
    check_whole("n_samples", n_samples, 1)
    check_whole("batch_size", batch_size, 1)
    n_samples, n_batches = int(n_samples), math.ceil(n_samples / batch_size)

    def batches(generator: np.random.Generator) -> Iterator[Tensor]:
        yield from torch.from_numpy(generator.permutation(n_samples)).tensor_split(n_batches)

    return batches


@dataclass(frozen=True)
class TrainingHistory:
    """How a training went.

    Attributes
    ----------
    losses : array (n_epochs,)
        Mean of the loss over the batches of each epoch that was finished.
    validation : array (n_epochs,) or None
        What ``validation`` said after each of them.
    kept_epoch : int
        Number of epochs after which the network was as it is now: those until the smallest validation value, or all
        of them without validation.
    complete : bool
        False if the training was interrupted or cancelled.
    """

    losses: np.ndarray
    validation: np.ndarray | None
    kept_epoch: int
    complete: bool


def train(
    module: nn.Module,
    loss: Callable[[Any], Tensor],
    batches: Callable[[np.random.Generator], Iterable],
    *,
    epochs: int,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.0,
    clip: float | None = None,
    schedule: str = "cosine",
    validation: Callable[[], float] | None = None,
    seed: int = 0,
    threads: int = 1,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> TrainingHistory:
    """Train a module with AdamW and keep the best epoch.

    An interrupt (Ctrl-C, the stop button of a notebook) ends the training with a warning and keeps the best epoch so
    far; only before the end of the first epoch is it passed on.

    Parameters
    ----------
    module : torch.nn.Module
        Its parameters are changed in place; afterwards it is in evaluation mode.
    loss : callable
        From what ``batches`` yields to a scalar that is to be minimised.
    batches : callable
        Called once an epoch with a random generator, returns the epoch's batches; see :func:`shuffled_batches`.
    epochs : int
    learning_rate : float
    weight_decay : float
        Decoupled from the gradient (Loshchilov, Hutter, arXiv:1711.05101).
    clip : float, optional
        Largest norm of a gradient; longer ones are shortened to it.
    schedule : "cosine" or "constant"
        Let the learning rate fall to zero as half a cosine, or leave it.
    validation : callable, optional
        Called after each epoch with the module in evaluation mode, returns a number of which the smallest is best.
    seed : int
        Of the batches' generator.
    threads : int
        Of torch during the training. More than one pays only when a step lasts many milliseconds.
    progress : callable, optional
        Called after each epoch with the fraction done and a message; a bar is shown without it.
    cancelled : callable
        Asked after each epoch; once it says so, the training ends and keeps the best epoch so far.

    Returns
    -------
    TrainingHistory

    Raises
    ------
    TypeError
        If the module is none of torch's, or something that is to be called cannot be.
    ValueError
        If a setting is out of range, the module has nothing to train, or there is no batch.
    ArithmeticError
        If the loss or a gradient becomes infinite or NaN.
    """
    check_module("module", module)
    for name, function in (("loss", loss), ("batches", batches), ("validation", validation)):
        if not callable(function) and (name, function) != ("validation", None):
            raise TypeError(f"{name} must be a function, got {type(function).__name__}")
    check_whole("epochs", epochs, 1, "number of epochs")
    check_number("learning_rate", learning_rate, positive=True)
    check_number("weight_decay", weight_decay)
    check_whole("threads", threads, 1)
    epochs, threads = int(epochs), int(threads)
    if clip is not None:
        check_number("clip", clip, positive=True)
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule is {schedule!r}; accepted are {', '.join(SCHEDULES)}")
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError(f"module must have parameters that require a gradient, {type(module).__name__} has none")
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
    generator = np.random.default_rng(seed)
    losses: list[float] = []
    values: list[float] = []
    best: dict[str, Tensor] | None = None
    complete = False

    def one_epoch() -> float:
        module.train()
        total, n_batches = 0.0, 0
        for batch in batches(generator):
            optimiser.zero_grad()
            value = loss(batch)
            value.backward()
            norm = 0.0 if clip is None else float(nn.utils.clip_grad_norm_(parameters, clip))
            number = float(value.detach())
            if not (math.isfinite(number) and math.isfinite(norm)):
                raise ArithmeticError(
                    f"the loss became {number:g} and the norm of its gradient {norm:g} in epoch {len(losses) + 1}; "
                    f"a learning_rate below {learning_rate:g}, or a smaller clip, may help"
                )
            optimiser.step()
            total, n_batches = total + number, n_batches + 1
        if n_batches == 0:
            raise ValueError("batches must yield at least one batch every epoch, got none")
        return total / n_batches

    counter = range(epochs) if progress else progress_bar(range(epochs), "training", epochs)
    try:
        with torch_threads(threads):
            for epoch in counter:
                if schedule == "cosine":
                    # The rates of the first and the last epoch are as far from the ends of the cosine.
                    rate = learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch + 0.5) / epochs))
                    optimiser.param_groups[0]["lr"] = rate
                mean_loss = one_epoch()
                module.eval()
                if validation is not None:
                    value = float(validation())
                    if not math.isfinite(value):
                        raise ArithmeticError(f"validation gave {value} after epoch {epoch + 1}")
                    if value < min(values, default=math.inf):
                        best = {name: tensor.clone() for name, tensor in module.state_dict().items()}
                    values.append(value)
                losses.append(mean_loss)
                if progress:
                    progress((epoch + 1) / epochs, f"epoch {epoch + 1} of {epochs}")
                if cancelled():
                    break
            else:
                complete = True
    except KeyboardInterrupt:
        if not losses:  # nothing to keep yet
            raise
        warnings.warn(f"training interrupted after {len(losses)} of {epochs} epochs", RuntimeWarning, stacklevel=2)
    finally:
        module.eval()
        optimiser.zero_grad()
        if best is not None:
            module.load_state_dict(best)
    values = values[: len(losses)]
    kept = int(np.argmin(values)) + 1 if values else len(losses)
    return TrainingHistory(np.array(losses), np.array(values) if validation else None, kept, complete)


_before: list[int] = []  # torch's threads before the trainings under way, the same for all of them
_lock = threading.Lock()


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Torch with this many threads until the block ends, also where trainings in several threads overlap."""
    with _lock:
        before = _before[0] if _before else torch.get_num_threads()
        _before.append(before)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        with _lock:
            _before.pop()
        torch.set_num_threads(before)
