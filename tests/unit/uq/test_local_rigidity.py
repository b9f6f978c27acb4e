"""Rigidities of atoms, structures and components against their definitions, written out."""

import numpy as np
import pytest

from matterscape.uq.local_rigidity import component_prediction_rigidity, local_prediction_rigidity

pytestmark = pytest.mark.unit

COMPONENTS = [2, 1, 2]


@pytest.fixture
def structures():
    rng = np.random.default_rng(4)
    return [[rng.normal(size=(n, 5)) for n in counts] for counts in ((3, 4, 6), (2, 5))]


def reference(train, row, pooling, penalty=1e-3):
    """1 / (z^T C^-1 z) with everything scaled explicitly."""
    scale = np.sqrt(np.mean([np.sum(atom**2) for block in train for atom in block]))
    rows = np.stack([getattr(np, pooling)(block, axis=0) for block in train]) / scale
    z = row / scale
    return 1 / (z @ np.linalg.inv(rows.T @ rows + penalty * np.eye(5)) @ z)


def only(row, component):
    """The row with all other components set to zero."""
    start = sum(COMPONENTS[:component])
    kept = np.zeros(5)
    kept[start : start + COMPONENTS[component]] = row[start : start + COMPONENTS[component]]
    return kept


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_local_rigidities(structures, pooling):
    train, test = structures
    local = local_prediction_rigidity(train, test, 1e-3, pooling=pooling)
    assert [len(block) for block in local] == [2, 5]
    assert local[1][3] == pytest.approx(reference(train, test[1][3], pooling), rel=1e-10)
    whole = local_prediction_rigidity(train, test, 1e-3, per="structure", pooling=pooling)
    assert whole.shape == (2,)
    assert whole[0] == pytest.approx(reference(train, getattr(np, pooling)(test[0], axis=0), pooling), rel=1e-10)


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_component_rigidities(structures, pooling):
    train, test = structures
    whole = component_prediction_rigidity(train, test, 1e-3, COMPONENTS, pooling=pooling)
    local = component_prediction_rigidity(train, test, 1e-3, COMPONENTS, per="atom", pooling=pooling)
    assert whole.shape == (2, 3)
    assert [block.shape for block in local] == [(2, 3), (5, 3)]
    for c in range(3):
        pooled = getattr(np, pooling)(test[0], axis=0)
        assert whole[0, c] == pytest.approx(reference(train, only(pooled, c), pooling), rel=1e-10)
        assert local[1][4, c] == pytest.approx(reference(train, only(test[1][4], c), pooling), rel=1e-10)


def test_one_component_is_the_whole_model(structures):
    train, test = structures
    whole = component_prediction_rigidity(train, test, 1e-3, [5])
    np.testing.assert_allclose(whole[:, 0], local_prediction_rigidity(train, test, 1e-3, per="structure"), rtol=1e-12)


def test_a_common_factor_of_all_features_changes_nothing(structures):
    train, test = ([7.0 * block for block in blocks] for blocks in structures)
    for scaled, plain in zip(
        local_prediction_rigidity(train, test, 1e-3), local_prediction_rigidity(*structures, 1e-3), strict=True
    ):
        np.testing.assert_allclose(scaled, plain, rtol=1e-12)


def test_features_are_not_centred(structures):
    """A shift of all features is a different model, so it must change the rigidities."""
    train, test = ([block + 2.0 for block in blocks] for blocks in structures)
    shifted, plain = (local_prediction_rigidity(*both, 1e-3)[0] for both in ((train, test), structures))
    assert not np.allclose(shifted, plain, rtol=0.1)


def test_single_precision_is_accumulated_in_double(structures):
    train, test = ([block.astype(np.float32) for block in blocks] for blocks in structures)
    doubled = ([block.astype(np.float64) for block in blocks] for blocks in (train, test))
    np.testing.assert_allclose(
        local_prediction_rigidity(train, test, 1e-3)[0], local_prediction_rigidity(*doubled, 1e-3)[0], rtol=1e-12
    )


def test_what_a_structure_does_not_have_is_certain(structures):
    """A component without features contributes nothing, so no data can move it."""
    train, test = structures
    test[0][:, 2] = 0.0
    assert component_prediction_rigidity(train, test, 1e-3, COMPONENTS)[0, 1] == np.inf


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: local_prediction_rigidity([], [x], 1.0), "train must hold at least one structure"),
        (lambda x: local_prediction_rigidity([x], [], 1.0), "test must hold at least one structure"),
        (lambda x: local_prediction_rigidity([x], [x], 1.0, per="bond"), "per must be 'atom' or 'structure'"),
        (lambda x: local_prediction_rigidity([x], [x], 1.0, pooling="max"), "pooling must be 'mean' or 'sum'"),
        (lambda x: local_prediction_rigidity([x], [x[:, :2]], 1.0), r"test\[0\] must have 5 columns, got 2"),
        (lambda x: local_prediction_rigidity([x, x * np.nan], [x], 1.0), r"train\[1\] must be finite"),
        (lambda x: local_prediction_rigidity([0 * x], [x], 1.0), "train must hold features that are not all zero"),
        (lambda x: local_prediction_rigidity([x], [x], 0.0), "leaves the Gram matrix singular"),
        (lambda x: local_prediction_rigidity([x], [x], -1.0), "regularisation must be a number >= 0, got -1"),
        (lambda x: component_prediction_rigidity([x], [x], 1.0, [2, 2]), "must sum to the 5 features, got 4"),
        (lambda x: component_prediction_rigidity([x], [x], 1.0, [5, 0]), "whole numbers of columns, at least 1"),
        (lambda x: component_prediction_rigidity([x], [x], 1.0, [2.5, 2.5]), "whole numbers of columns"),
        (lambda x: component_prediction_rigidity([x], [x], 1.0, [5], per="bond"), "per must be"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0).normal(size=(3, 5)))
