"""Perceptrons and their training: seeds, best epochs, interrupts, sentences."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from matterscape.models.network import multilayer_perceptron, shuffled_batches, train

pytestmark = pytest.mark.unit


class LineFit:
    """A line through four points, which has an exact answer."""

    def __init__(self, seed=0):
        self.x = torch.tensor([[0.0], [1.0], [2.0], [3.0]], dtype=torch.float64)
        self.y = 2 * self.x - 1
        self.module = multilayer_perceptron([1, 1], seed=seed)

    def loss(self, indices):
        return (self.module(self.x[indices]) - self.y[indices]).square().mean()

    def train(self, **options):
        defaults = dict(epochs=20, learning_rate=0.1)
        return train(self.module, self.loss, shuffled_batches(4, 2), **defaults | options)

    def weights(self):
        return torch.cat([parameter.detach().reshape(-1) for parameter in self.module.parameters()])


def test_perceptron_is_linear_at_both_ends():
    network = multilayer_perceptron([3, 8, 5, 2], "tanh", dtype=torch.float32)
    assert [type(layer) for layer in network] == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
    assert network(torch.zeros(4, 3)).shape == (4, 2)
    for layer in network[::2]:
        assert layer.weight.dtype == torch.float32
        assert layer.weight.abs().max() <= layer.in_features**-0.5


def test_seed_decides_the_first_weights():
    first, same, other = (multilayer_perceptron([3, 8, 1], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first[0].weight, same[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)


def test_batches_cover_all_samples_in_a_new_order_every_epoch():
    generator = np.random.default_rng(0)
    batches = shuffled_batches(10, 4)
    epochs = [list(batches(generator)) for _ in range(2)]
    assert [len(batch) for batch in epochs[0]] == [4, 3, 3]  # never a last batch of one or two
    assert all(sorted(torch.cat(epoch).tolist()) == list(range(10)) for epoch in epochs)
    assert not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_training_finds_the_line(schedule):
    fit = LineFit()
    history = fit.train(epochs=300, schedule=schedule)
    torch.testing.assert_close(fit.weights(), torch.tensor([2.0, -1.0], dtype=torch.float64), rtol=0, atol=1e-3)
    assert history.losses[-1] < 1e-6 < history.losses[0]
    assert history.losses.shape == (300,)
    assert history.validation is None
    assert (history.kept_epoch, history.complete) == (300, True)
    assert not fit.module.training


def test_same_seed_same_bits():
    first, same, other = LineFit(), LineFit(), LineFit()
    for fit, seed in ((first, 0), (same, 0), (other, 1)):
        fit.train(seed=seed)
    assert torch.equal(first.weights(), same.weights())
    assert not torch.equal(first.weights(), other.weights())


def test_best_epoch_is_kept():
    fit, seen = LineFit(), []
    values = iter([5.0, 3.0, 1.0, 2.0, 1.0])

    def validation():
        seen.append(fit.weights())
        assert not fit.module.training
        return next(values)

    history = fit.train(epochs=5, validation=validation)
    assert history.kept_epoch == 3
    assert torch.equal(fit.weights(), seen[2])
    np.testing.assert_array_equal(history.validation, [5, 3, 1, 2, 1])


def test_weight_decay_pulls_weights_to_zero():
    plain, decayed = LineFit(), LineFit()
    plain.train(epochs=200)
    decayed.train(epochs=200, weight_decay=1.0)
    assert decayed.weights()[0].abs() < plain.weights()[0].abs() - 0.01


def test_a_clip_shortens_the_gradient(monkeypatch):
    fit, lengths = LineFit(), []
    step = torch.optim.AdamW.step

    def watched(optimiser, *arguments):
        lengths.append(torch.cat([p.grad.reshape(-1) for p in fit.module.parameters()]).norm().item())
        return step(optimiser, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    fit.train(epochs=1)
    assert min(lengths) > 0.1
    lengths.clear()
    fit.train(epochs=1, clip=0.01)
    assert lengths == pytest.approx([0.01, 0.01], rel=1e-3)


def test_an_interrupt_keeps_the_best_epoch_and_warns():
    fit, seen = LineFit(), []
    batches = shuffled_batches(4, 2)

    def interrupted(generator):
        if len(seen) == 3:
            raise KeyboardInterrupt
        return batches(generator)

    def validation():
        seen.append(fit.weights())
        return [2.0, 1.0, 3.0][len(seen) - 1]

    with pytest.warns(RuntimeWarning, match="interrupted after 3 of 20 epochs"):
        history = train(fit.module, fit.loss, interrupted, epochs=20, learning_rate=0.1, validation=validation)
    assert (history.kept_epoch, history.complete) == (2, False)
    assert torch.equal(fit.weights(), seen[1])
    assert len(history.losses) == 3


def test_an_interrupt_before_there_is_anything_to_keep_is_passed_on():
    def interrupted(generator):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(LineFit().module, lambda batch: batch, interrupted, epochs=2)


def test_progress_is_told_and_a_cancel_is_heard():
    told = []
    history = LineFit().train(epochs=10, progress=lambda *a: told.append(a), cancelled=lambda: len(told) == 4)
    assert [message for _, message in told] == [f"epoch {k} of 10" for k in (1, 2, 3, 4)]
    assert [fraction for fraction, _ in told] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert (len(history.losses), history.complete) == (4, False)


def test_torch_gets_its_threads_back():
    threads = torch.get_num_threads()
    seen = []
    LineFit().train(epochs=1, validation=lambda: seen.append(torch.get_num_threads()) or 0.0)
    assert seen == [1]
    assert torch.get_num_threads() == threads


def test_overlapping_trainings_give_torch_its_threads_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    first, second = threading.Event(), threading.Event()

    def overlapping():
        second.set()
        first.wait(10)
        return False

    other = threading.Thread(target=lambda: LineFit().train(epochs=1, cancelled=overlapping))

    def start_the_other():
        other.start()
        second.wait(10)
        return 0.0

    try:
        LineFit().train(epochs=1, validation=start_the_other)  # which starts within this one and ends after it
        first.set()
        other.join()
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as fresh:
            assert fresh.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


def test_divergence_meets_a_sentence():
    fit = LineFit()
    fit.y = fit.y * math.nan
    with pytest.raises(ArithmeticError, match=r"loss became nan .* in epoch 1; a learning_rate below 0.1"):
        fit.train()
    with pytest.raises(ArithmeticError, match="validation gave inf after epoch 1"):
        LineFit().train(validation=lambda: math.inf)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(epochs=0), "epochs is 0"),
        (dict(learning_rate=-1.0), "learning_rate is -1.0"),
        (dict(weight_decay=-1.0), "weight_decay is -1.0"),
        (dict(clip=0.0), "clip is 0.0"),
        (dict(schedule="step"), "schedule is 'step'; accepted are cosine, constant"),
        (dict(threads=0), "threads is 0"),
    ],
)
def test_settings_out_of_range_meet_a_sentence(options, message):
    with pytest.raises(ValueError, match=message):
        LineFit().train(**options)


def test_other_bad_input_meets_a_sentence():
    with pytest.raises(TypeError, match="widths must be a list of the widths of layers, got 64"):
        multilayer_perceptron(64)
    with pytest.raises(TypeError, match="module must be a torch.nn.Module, got NoneType"):
        train(None, lambda batch: batch, lambda generator: [], epochs=1)
    with pytest.raises(TypeError, match="batches must be a function, got list"):
        train(torch.nn.Linear(1, 1), lambda batch: batch, [torch.ones(1)], epochs=1)
    with pytest.raises(ValueError, match=r"at least the inputs and the outputs, got \[3\]"):
        multilayer_perceptron([3])
    with pytest.raises(ValueError, match="widths is 0"):
        multilayer_perceptron([3, 0, 1])
    with pytest.raises(ValueError, match="activation is 'sine'; accepted are silu"):
        multilayer_perceptron([3, 1], "sine")
    with pytest.raises(ValueError, match="Identity has none"):
        train(nn.Identity(), lambda batch: batch, shuffled_batches(4, 2), epochs=1)
    with pytest.raises(ValueError, match="at least one batch every epoch, got none"):
        train(LineFit().module, lambda batch: batch, lambda generator: [], epochs=1)
