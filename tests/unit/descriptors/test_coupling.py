"""Clebsch-Gordan products: against the dense definition, sums over rows, derivatives, bad input."""

import math

import numba
import numpy as np
import pytest
import torch

from matterscape.basis import ClebschGordan, clebsch_gordan
from matterscape.descriptors import _coupling_operators as operators
from matterscape.descriptors import _selected_operators as selected
from matterscape.descriptors.coupling import couple, couple_selected
from matterscape.kernels import get_threads, parameters_only, set_threads

pytestmark = pytest.mark.unit

ROWS = {
    "first_index": torch.tensor([0, 1, 1, 4, 3, 2]),
    "second_index": torch.tensor([3, 0, 1, 2, 2, 0]),
    "target_index": torch.tensor([1, 1, 0, 4, 1, 0]),
    "n_targets": 6,
}


def _random(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _dense(first, second, angular):
    l1, l2 = ((block.shape[1] - 1) // 2 for block in (first, second))
    table = torch.tensor(clebsch_gordan(l1, l2, angular), dtype=first.dtype)
    return torch.einsum("smq,snr,mnM->sMqr", first, second, table).flatten(2)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-13), (torch.float32, 1e-5)])
@pytest.mark.parametrize("channels", [(1, 1), (7, 2), (5, 11)])
def test_equals_dense_definition(dtype, tolerance, channels):
    for l1, l2, angular in ClebschGordan(4):
        first = _random(9, 2 * l1 + 1, channels[0], dtype=dtype, seed=1)
        second = _random(9, 2 * l2 + 1, channels[1], dtype=dtype, seed=2)
        result = couple(first, second, angular)
        assert result.shape == (9, 2 * angular + 1, channels[0] * channels[1]) and result.dtype == dtype
        torch.testing.assert_close(result, _dense(first, second, angular), rtol=tolerance, atol=10 * tolerance)


def test_vectors_couple_to_scalar_and_cross_product():
    a, b = _random(4, 3, seed=3), _random(4, 3, seed=4)
    in_order = [1, 2, 0]  # y, z, x
    first, second = a[:, in_order, None], b[:, in_order, None]
    torch.testing.assert_close(couple(first, second, 0)[:, 0, 0], -(a * b).sum(1) / math.sqrt(3))
    torch.testing.assert_close(couple(first, second, 1)[:, :, 0], torch.linalg.cross(a, b)[:, in_order] / math.sqrt(2))


def test_rows_are_gathered_and_summed():
    first, second = _random(5, 5, 3, seed=5), _random(4, 3, 6, seed=6)
    result = couple(first, second, 2, **ROWS)
    by_row = _dense(first[ROWS["first_index"]], second[ROWS["second_index"]], 2)
    expected = torch.zeros(6, 5, 18, dtype=torch.float64).index_add(0, ROWS["target_index"], by_row)
    torch.testing.assert_close(result, expected)
    assert torch.equal(result[[2, 3, 5]], torch.zeros(3, 5, 18, dtype=torch.float64))  # targets without rows
    gathered = couple(first, second, 2, first_index=ROWS["first_index"], second_index=ROWS["second_index"])
    torch.testing.assert_close(gathered, by_row)
    assert couple(first, second, 2, **(ROWS | {"n_targets": None})).shape[0] == 5


@pytest.mark.parametrize("with_rows", [False, True])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_kernels_equal_their_references(with_rows, dtype, tolerance):
    l1, l2, angular, q1, q2 = 2, 3, 4, 7, 10
    first, second = (_random(5, (2 * l + 1) * q, dtype=dtype, seed=l) for l, q in ((l1, q1), (l2, q2)))
    indices = [ROWS[f"{name}_index"] for name in ("first", "second", "target")] if with_rows else [None] * 3
    n_targets, columns = 6 if with_rows else 5, (2 * angular + 1) * q1 * q2
    coupling = [0, q1, l1, q1, 0, q2, l2, angular, 0, q1 * q2]
    gradient = _random(n_targets, columns, dtype=dtype, seed=9)
    for operator, arguments in (
        (operators.products, (first, second, *indices, coupling, n_targets, columns)),
        (operators.product_gradients, (gradient, first, second, *indices, coupling, True, True)),
    ):
        close = {"rtol": tolerance, "atol": 30 * tolerance}
        torch.testing.assert_close(operator(*arguments), operator.reference(*arguments), **close)


def test_reference_works_in_pieces(monkeypatch):
    arguments = (_random(40, 15), _random(40, 6), None, None, None, [0, 3, 2, 3, 0, 2, 1, 2, 0, 6], 40, 30)
    whole = operators.products.reference(*arguments)
    monkeypatch.setattr(operators, "_NUMBERS_AT_ONCE", 1000)
    assert torch.equal(operators.products.reference(*arguments), whole)


@pytest.mark.parametrize("rows", [{}, ROWS], ids=["row by row", "any rows"])
@pytest.mark.parametrize("angular", [1, 2])
def test_derivatives_of_all_orders(rows, angular):
    first = _random(5, 5, 2, seed=7).requires_grad_()
    second = _random(4 if rows else 5, 3, 1, seed=8).requires_grad_()

    def product(first, second):
        return couple(first, second, angular, **rows)

    assert torch.autograd.gradcheck(product, (first, second), fast_mode=True)
    for one, two in ((first, second), (first.detach(), second), (first, second.detach())):
        assert torch.autograd.gradgradcheck(product, (one, two), fast_mode=True)


def test_training_on_gradients_needs_no_second_derivatives_of_the_factors():
    first, second = _random(5, 3, 2, seed=1).requires_grad_(), _random(5, 3, 2, seed=2).requires_grad_()
    weights = _random(4, seed=3).requires_grad_()

    def gradient_of_loss(slope):
        return torch.autograd.grad(slope.pow(2).sum(), weights, retain_graph=True)[0]

    def slopes():
        return torch.autograd.grad((couple(first, second, 1) @ weights).sum(), (first, second), create_graph=True)

    expected = [gradient_of_loss(slope) for slope in slopes()]
    with parameters_only():
        got = slopes()
    assert all(torch.equal(gradient_of_loss(slope), value) for slope, value in zip(got, expected))


def test_operators_pass_the_checks_of_torch():
    first, second = _random(5, 9, seed=1).requires_grad_(), _random(4, 10, seed=2).requires_grad_()
    indices = [ROWS[f"{name}_index"] for name in ("first", "second", "target")]
    arguments = (first, second, *indices, [0, 3, 1, 3, 0, 2, 2, 2, 0, 6], 6, 30)
    checks = {"test_utils": ("test_schema", "test_autograd_registration", "test_faketensor")}
    torch.library.opcheck(operators.products.torch_operator, arguments, **checks)
    pairs = torch.tensor([[0, 1], [2, 0]])
    blocks = first.view(5, 3, 3)[:4], second.view(4, 5, 2)
    torch.library.opcheck(selected.selected_products.torch_operator, (*blocks, pairs, 2), **checks)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one thread only")
def test_same_bits_for_any_number_of_threads():
    generator = torch.Generator().manual_seed(0)
    i, j, t = (torch.randint(0, n, (3000,), generator=generator) for n in (40, 50, 70))
    first, second = _random(40, 5, 6).requires_grad_(), _random(50, 7, 5).requires_grad_()
    before, results = get_threads(), []
    try:
        for threads in (1, 2):
            set_threads(threads)
            product = couple(first, second, 3, first_index=i, second_index=j, target_index=t)
            results.append((product, *torch.autograd.grad(product.pow(2).sum(), (first, second))))
    finally:
        set_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*results))


@pytest.mark.parametrize("n_pairs", [0, 1, 5, 19])
def test_selected_pairs_are_columns_of_the_product(n_pairs):
    pairs = np.random.default_rng(0).integers(0, [4, 3], (n_pairs, 2))
    first, second = _random(6, 5, 4, seed=1).requires_grad_(), _random(6, 7, 3, seed=2).requires_grad_()
    for angular in (1, 2, 5):
        result = couple_selected(first, second, pairs, angular)
        columns = torch.from_numpy(pairs[:, 0] * 3 + pairs[:, 1])
        torch.testing.assert_close(result, couple(first, second, angular)[:, :, columns])
        arguments = first, second, torch.from_numpy(pairs), angular
        torch.testing.assert_close(result, selected.selected_products.reference(*arguments))
        gradient = torch.randn_like(result)
        torch.testing.assert_close(
            selected.selected_gradients(gradient, *arguments),
            selected.selected_gradients.reference(gradient, *arguments),
        )


@pytest.mark.parametrize("angular", [1, 2])
def test_derivatives_of_selected_pairs(angular):
    first, second = _random(3, 5, 3, seed=1).requires_grad_(), _random(3, 3, 2, seed=2).requires_grad_()
    pairs = torch.tensor([[0, 1], [2, 0], [0, 0], [2, 0]])

    def products(first, second):
        return couple_selected(first, second, pairs, angular)

    assert torch.autograd.gradcheck(products, (first, second), fast_mode=True)
    assert torch.autograd.gradgradcheck(products, (first, second), fast_mode=True)


def test_empty_batch():
    assert couple(_random(0, 3, 2), _random(0, 3, 2), 1).shape == (0, 3, 4)
    nothing = torch.empty(0, dtype=torch.int64)
    rows = {"first_index": nothing, "second_index": nothing, "target_index": nothing, "n_targets": 3}
    assert torch.equal(couple(_random(2, 3, 2), _random(2, 3, 2), 1, **rows), torch.zeros(3, 3, 4, dtype=torch.float64))


@pytest.mark.parametrize(
    "changes, kind, words",
    [
        ({"angular": 4}, ValueError, ["angular is 4", "from |l1 - l2| = 1", "= 3"]),
        ({"angular": 0.5}, ValueError, ["angular is 0.5", "whole"]),
        ({"first": _random(4, 4, 2)}, ValueError, ["first has shape (4, 4, 2)", "2 l + 1"]),
        ({"first": np.zeros((4, 5, 2))}, TypeError, ["first is a ndarray", "tensor"]),
        ({"second": _random(4, 3, 2, dtype=torch.float32)}, TypeError, ["second is torch.float32", "torch.float64"]),
        ({"second": _random(5, 3, 2)}, ValueError, ["first: 4", "second: 5"]),
        ({"first_index": torch.tensor([0, 4, 1, 2])}, ValueError, ["first_index is from 0 to 4", "0 to 3"]),
        ({"second_index": torch.tensor([0.0, 1.0])}, ValueError, ["second_index", "whole numbers"]),
        ({"second_index": torch.tensor([0, 1])}, ValueError, ["first: 4", "second_index: 2"]),
        ({"target_index": torch.tensor([0, 1, 2, 3]), "n_targets": 3}, ValueError, ["target_index", "0 to 2"]),
        ({"n_targets": 3}, ValueError, ["n_targets is 3", "target_index"]),
    ],
)
def test_bad_input(changes, kind, words):
    arguments = {"first": _random(4, 5, 2), "second": _random(4, 3, 2), "angular": 2} | changes
    with pytest.raises(kind) as error:
        couple(**arguments)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    "pairs, words",
    [
        ([[0, 2]], ["pairs[:, 1]", "from 2 to 2", "0 to 1"]),
        ([[0, 1, 1]], ["pairs have shape (1, 3)", "(P, 2)"]),
        ([[0.5, 1.0]], ["pairs", "whole numbers"]),
    ],
)
def test_bad_pairs(pairs, words):
    with pytest.raises(ValueError) as error:
        couple_selected(_random(4, 5, 2), _random(4, 3, 2), pairs, 2)
    assert all(word in str(error.value) for word in words), error.value
