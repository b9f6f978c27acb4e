"""ActiveLearning without a browser: what labels change, which candidate the error bar asks for, and bad input."""

import numpy as np
import pytest
from ase.build import bulk

from matterscape.uq import Rigidity, gram
from matterscape_widgets.active_learning import OWN, ActiveLearning

pytestmark = pytest.mark.unit

RNG = np.random.default_rng(0)
FEATURES = np.hstack([RNG.normal(size=(12, 3)), np.ones((12, 1))])
FEATURES[7, :3] *= 10  # the odd one out
WEIGHTS = np.array([1.0, -2.0, 0.5, 3.0])
TEST = np.hstack([RNG.normal(size=(6, 3)), np.ones((6, 1))])
PENALTY = 1e-8


def _study(**options):
    settings = {"regularisation": PENALTY, "start": (0, 1), "unit": "eV"} | options
    return ActiveLearning(FEATURES, FEATURES @ WEIGHTS, TEST, TEST @ WEIGHTS, **settings)


def test_error_bars_are_those_of_the_labelled_candidates():
    study = _study(variance_scale=4.0)
    model = Rigidity(gram(FEATURES[:2]), PENALTY, variance_scale=4.0)
    np.testing.assert_allclose(study.deviations**2, model.variance(FEATURES), rtol=1e-9)
    study.label(5)
    assert study.labelled == (0, 1, 5)
    model = Rigidity(gram(FEATURES[[0, 1, 5]]), PENALTY, variance_scale=4.0)
    np.testing.assert_allclose(study.deviations**2, model.variance(FEATURES), rtol=1e-9)


def test_the_most_uncertain_is_labelled_first():
    study = _study()
    study.label_uncertain()
    assert study.labelled[-1] == 7 == study.map.active
    assert study.readouts["Chosen"].text == "candidate, no. 7, labelled"
    study.label_uncertain(2)
    assert len(set(study.labelled)) == 5
    assert study.errors[-1] < 1e-6  # as many labels as weights determine a linear function


def test_by_hand_and_again():
    study = _study(groups=list("abcdefghijkl"))
    study.map.active = 3
    assert study.readouts["Chosen"].text == "d, no. 3"
    assert float(study.readouts["Its error bar"].text) == pytest.approx(study.deviations[3], rel=1e-3)
    study._buttons["one"].click()
    assert study.labelled == (0, 1, 3) and study._buttons["one"].disabled
    assert study.map.labels[3] == "d, labelled"
    assert study.curve.series[OWN].x.tolist() == [2, 3]
    study._buttons["again"].click()
    assert study.labelled == (0, 1) and len(study.errors) == 1


def test_learning_curves_of_other_orders():
    orders = {"in order": [range(2, 8)], "at random": [[4, 9, 3, 5], [11, 2, 7, 6]]}
    study = _study(orders=orders)
    curve = study.learning_curve([2, 3, 4])
    study.label(2), study.label(3), study.label(4)
    np.testing.assert_allclose(curve, study.errors)
    drawn = study.curve.series
    assert list(drawn) == ["in order", "at random", OWN]
    assert drawn["in order"].low is None and len(drawn["at random"].low) == 5
    middle = np.sqrt(np.prod([study.learning_curve(order)[1] for order in orders["at random"]]))
    assert drawn["at random"].y[1] == pytest.approx(middle)


def test_frames_are_linked():
    frames = [bulk("Si", a=5 + 0.05 * k) for k in range(12)]
    study = _study(frames=frames)
    study.map.active = 4
    assert study.pane.structure == 4
    study.pane.show(9)
    assert study.map.active == 9


def test_bad_input():
    study = _study()
    with pytest.raises(ValueError, match="candidate contains 1, which is labelled already"):
        study.label(1)
    with pytest.raises(ValueError, match="candidate contains 12, but the candidates are 0 to 11"):
        study.label(12)
    with pytest.raises(ValueError, match="order contains 0, which is labelled already"):
        study.learning_curve([0])
    with pytest.raises(ValueError, match="start is empty"):
        _study(start=())
    with pytest.raises(ValueError, match="groups has 2 entries, but there are 12 candidates"):
        _study(groups=["a", "b"])
    with pytest.raises(ValueError, match="test_features must have 4 columns"):
        ActiveLearning(FEATURES, FEATURES @ WEIGHTS, TEST[:, :2], TEST @ WEIGHTS, regularisation=1.0)
    study._buttons["one"].click()
    assert study.message == "No candidate is marked; click a point of the map first."
    study.label_uncertain(10)
    study._buttons["uncertain"].click()
    assert study.message == "All 12 candidates are labelled; start again."
