"""The operator mechanism, on a small cubic kernel with a known derivative chain."""

import numba
import numpy as np
import pytest
import torch

from matterscape.kernels import Operator, default_threads, get_threads, parameters_only, set_threads

pytestmark = pytest.mark.unit


@numba.njit(parallel=True)
def _cube_loop(x, scale, out):
    for i in numba.prange(x.shape[0]):
        for k in range(x.shape[1]):
            out[i, k] = scale * x[i, k] ** 3


def _cube_body(x, scale):
    out = np.empty_like(x)
    _cube_loop(x, scale, out)
    return out


def _cube_reference(x: torch.Tensor, scale: float) -> torch.Tensor:
    """scale x^3 for x (N, K)."""
    return scale * x**3


def _slope_reference(gradient: torch.Tensor, x: torch.Tensor, scale: float) -> torch.Tensor:
    """3 scale x^2 gradient."""
    return 3 * scale * x**2 * gradient


cube_slope = Operator(
    "test_cube_slope",
    reference=_slope_reference,
    body=lambda gradient, x, scale: 3 * scale * x**2 * gradient,
    fake=lambda gradient, x, scale: torch.empty_like(x),
    derivative=lambda inputs, gradients: (
        3 * inputs[2] * inputs[1] ** 2 * gradients[0],
        6 * inputs[2] * inputs[1] * inputs[0] * gradients[0],
        None,
    ),
)
cube = Operator(
    "test_cube",
    reference=_cube_reference,
    body=_cube_body,
    fake=lambda x, scale: torch.empty_like(x),
    derivative=lambda inputs, gradients: (cube_slope(gradients[0], *inputs), None),
)


@pytest.fixture
def x():
    return torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()


def test_body_equals_reference_and_derivatives_are_exact(x):
    assert torch.equal(cube(x, 2.0), cube.reference(x, 2.0))
    assert torch.autograd.gradcheck(lambda t: cube(t, 2.0), (x,))
    assert torch.autograd.gradgradcheck(lambda t: cube(t, 2.0), (x,))


def test_operator_passes_torchs_own_checks(x):
    torch.library.opcheck(cube.torch_operator, (x, 2.0))


def test_empty_and_non_contiguous_input(x):
    assert cube(x[:0], 2.0).shape == (0, 3)
    assert torch.equal(cube(x.T, 2.0), 2.0 * x.T**3)
    (gradient,) = torch.autograd.grad(cube(x.T, 2.0).sum(), x)
    torch.testing.assert_close(gradient, 6.0 * x**2)


def test_fake_tensors_have_shape_without_running_the_body():
    with torch._subclasses.FakeTensorMode():
        assert cube(torch.empty(7, 2, dtype=torch.float32), 1.0).shape == (7, 2)


def test_dtype_is_kept_and_half_precision_is_refused(x):
    assert cube(x.float(), 2.0).dtype == torch.float32
    with pytest.raises(TypeError, match=r"test_cube: a tensor is torch.float16; accepted are float32 and float64"):
        cube(x.half(), 2.0)


def test_mixed_devices_are_refused(x):
    with pytest.raises(ValueError, match="cpu, meta; all of them must be on one device"):
        cube_slope(x, x.to("meta"), 2.0)


def test_parameters_only_drops_the_second_derivative_in_the_inputs_only(x):
    weight = torch.ones_like(x, requires_grad=True)

    def second(context):
        with context:
            (force,) = torch.autograd.grad((weight * cube(x, 1.0)).sum(), x, create_graph=True)
        return torch.autograd.grad(force.sum(), (weight, x), allow_unused=True)

    import contextlib

    by_weight, by_position = second(contextlib.nullcontext())
    torch.testing.assert_close(by_position, 6 * x)
    trained, dropped = second(parameters_only())
    torch.testing.assert_close(trained, by_weight)
    assert dropped is None


def test_threads_are_set_checked_and_do_not_change_results(x):
    before = get_threads()
    try:
        set_threads(1)
        assert get_threads() == torch.get_num_threads() == 1
        single = cube(x, 2.0)
        set_threads(numba.config.NUMBA_NUM_THREADS)
        assert torch.equal(cube(x, 2.0), single)
        for bad in (0, -1, 1.5, numba.config.NUMBA_NUM_THREADS + 1):
            with pytest.raises(ValueError, match=f"threads is {bad}; accepted is a whole number from 1 to"):
                set_threads(bad)
    finally:
        set_threads(before)


def test_default_threads_follow_the_environment(monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert default_threads() == 1
    monkeypatch.delenv("NUMBA_NUM_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert default_threads() == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert 1 <= default_threads() <= numba.config.NUMBA_NUM_THREADS
