"""Suggested hyper-parameters follow lengths and composition."""

import numpy as np
import pytest
from ase.build import bulk, molecule

from matterscape.maps import pseudo_species, suggest_hyperparameters
from matterscape.structures import Structures

pytestmark = pytest.mark.unit


def test_lengths_follow_the_structures():
    copper = suggest_hyperparameters(Structures.from_ase(bulk("Cu", cubic=True)))
    expanded = suggest_hyperparameters(Structures.from_ase(bulk("Cu", a=3.8, cubic=True)))
    assert copper["smearing"] == pytest.approx(3.61 / np.sqrt(2) / 8, abs=0.01)  # an eighth of the nearest distance
    assert 3.61 < copper["cutoff"] < 5.2 and expanded["cutoff"] > copper["cutoff"]
    molecules = suggest_hyperparameters(Structures.from_ase([molecule("H2O"), molecule("CH4")]))
    assert molecules["cutoff"] == 5.0 and molecules["smearing"] == 0.15


def test_resolution_falls_with_the_number_of_species():
    few = suggest_hyperparameters(Structures.from_ase(bulk("Si")))
    assert (few["max_radial"], few["max_angular"], few["species_channels"]) == (8, 6, None)
    several = Structures.from_ase([bulk("Si"), bulk("Cu"), bulk("NaCl", "rocksalt", a=5.6), molecule("H2O")])
    chosen = suggest_hyperparameters(several)
    q = 6 * chosen["max_radial"]
    assert chosen["species_channels"] is None and (chosen["max_angular"] + 1) * q * (q + 1) // 2 <= 2200
    many = [bulk(element) for element in ("Si", "Cu", "Al", "Fe", "Ag", "Au", "Pt", "Ni")]
    assert suggest_hyperparameters(Structures.from_ase(many))["species_channels"] == 4


def test_a_single_atom_has_hyperparameters_too():
    assert suggest_hyperparameters(Structures.from_ase(molecule("H")))["smearing"] == 0.3


def test_pseudo_species_put_like_elements_together():
    species = (3, 11, 9, 17, 79)
    weights = pseudo_species(species, 4)
    assert weights.shape == (5, 4)
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    similarity = unit @ unit.T
    assert similarity[0, 1] > similarity[0, 2] and similarity[2, 3] > similarity[2, 1]  # Li-Na > Li-F, F-Cl > F-Na
    full = pseudo_species(species, 5)
    np.testing.assert_allclose(np.diag(full @ full.T), 1.0, rtol=1e-10)  # all channels give the whole kernel
    with pytest.raises(ValueError, match="species_channels must lie between 1 and the number of species 5, got 6"):
        pseudo_species(species, 6)
