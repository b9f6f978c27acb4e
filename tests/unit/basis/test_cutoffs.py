import numpy as np
import pytest
import torch

from matterscape.basis.cutoffs import RadialScaling, ShiftedCosine, SmoothPolynomial, Step

pytestmark = pytest.mark.unit

CUTOFFS = [
    Step(3.0),
    ShiftedCosine(3.0),
    ShiftedCosine(3.0, width=3.0),
    SmoothPolynomial(3.0, 0.7),
    SmoothPolynomial(3.0, 0.7, smoothness=3),
]
SMOOTH = CUTOFFS[1:]


def derivatives(function, distances, order):
    r = torch.as_tensor(distances, dtype=torch.float64).requires_grad_()
    value = function(r)
    for _ in range(order):
        (value,) = torch.autograd.grad(value.sum(), r, create_graph=True)
    return value.detach().numpy()


@pytest.mark.parametrize("cutoff", CUTOFFS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_plateau_and_end(cutoff, dtype):
    r = torch.tensor([[0.0, 3.0], [3.5, 1e6]], dtype=dtype, requires_grad=True)
    values = cutoff(r)
    assert values.dtype == dtype
    assert values.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    (slopes,) = torch.autograd.grad(values.sum(), r)
    assert (slopes == 0).all()


@pytest.mark.parametrize("cutoff", SMOOTH, ids=repr)
def test_continuous_and_falling(cutoff):
    edges = np.array([cutoff.cutoff - cutoff.width, cutoff.cutoff])
    for order in range(getattr(cutoff, "smoothness", 1) + 1):
        gap = derivatives(cutoff, edges + 1e-8, order) - derivatives(cutoff, np.abs(edges - 1e-8), order)
        assert np.abs(gap).max() < 1e-3, order
    assert (np.diff(cutoff(torch.linspace(float(edges[0]), 3.0, 200))) < 1e-7).all()
    middle = torch.tensor(3.0 - cutoff.width / 2, dtype=torch.float64)
    assert cutoff(middle).item() == pytest.approx(0.5, abs=1e-14)


@pytest.mark.parametrize("cutoff", [*SMOOTH, RadialScaling(0.8, 1.7, 4), RadialScaling(0.0, 1.7, 3)], ids=repr)
def test_finite_differences(cutoff):
    r = torch.tensor([0.4, 2.51, 2.77, 2.98], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(cutoff, r)
    assert torch.autograd.gradgradcheck(cutoff, r)


def test_known_values():
    r = torch.tensor([2.75], dtype=torch.float64)
    assert ShiftedCosine(3.0, 0.75)(r).item() == pytest.approx(0.5 * (1 + np.cos(2 * np.pi / 3)), abs=1e-14)
    assert RadialScaling(2.0, 1.1, 3)(r).item() == pytest.approx(2 / (2 + 2.5**3), abs=1e-14)
    assert RadialScaling(0.0, 1.1, 3)(r).item() == pytest.approx(0.4**3, abs=1e-14)
    assert RadialScaling(0.0, 1.1, 0)(r).item() == 1
    assert RadialScaling(2.0, 1.1, 3)(torch.zeros(1)).item() == 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Step(0.0), "cutoff is 0.0"),
        (lambda: Step(float("nan")), "cutoff is nan"),
        (lambda: ShiftedCosine("5"), "cutoff is '5'"),
        (lambda: ShiftedCosine(3.0, 0.0), "width is 0.0"),
        (lambda: SmoothPolynomial(3.0, 3.5), "width is 3.5; accepted is a number up to the cutoff 3.0"),
        (lambda: SmoothPolynomial(3.0, 1.0, 4), "smoothness is 4; accepted is 2 or 3"),
        (lambda: RadialScaling(-1.0, 1.0, 2), "rate is -1.0"),
        (lambda: RadialScaling(1.0, 0.0, 2), "scale is 0.0"),
        (lambda: RadialScaling(1.0, 1.0, 2.5), "exponent is 2.5"),
    ],
)
def test_bad_input(build, message):
    with pytest.raises(ValueError, match=message):
        build()
