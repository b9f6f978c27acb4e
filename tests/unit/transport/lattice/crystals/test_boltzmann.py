import numpy as np
import pytest

from matterscape.transport.lattice.crystals.boltzmann import boltzmann_conductivity
from matterscape.transport.lattice.crystals.scattering import three_phonon_scattering
from matterscape.transport.lattice.modes import vibrational_modes

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def scattering(fine_modes, triplets):
    return three_phonon_scattering(fine_modes, triplets, [100.0, 300.0], broadening_THz=0.4, collisions=True)


@pytest.fixture(scope="module")
def relaxed(scattering):
    return boltzmann_conductivity(scattering)


@pytest.fixture(scope="module")
def solved(scattering):
    return boltzmann_conductivity(scattering, method="direct")


def test_iterations_reach_the_direct_solution(scattering, solved):
    for one, two in zip(boltzmann_conductivity(scattering, method="iterative"), solved, strict=True):
        np.testing.assert_allclose(one.tensor, two.tensor, rtol=1e-8, atol=1e-6)
        assert 2 < one.n_iterations < 60
        assert two.n_iterations == 0


def test_the_boltzmann_equation_conducts_more_than_relaxation_times(relaxed, solved):
    for less, more in zip(relaxed, solved, strict=True):
        assert 1.02 * less.value < more.value < 2 * less.value
    # normal processes, which relaxation times count as resistance, prevail in the cold
    assert solved[0].value / relaxed[0].value > solved[1].value / relaxed[1].value


def test_conductivity_of_a_cubic_crystal_is_isotropic(relaxed, solved):
    for result in (*relaxed, *solved):
        np.testing.assert_allclose(result.tensor, result.value * np.eye(3), atol=1e-6 * result.value)
        np.testing.assert_allclose(result.mode_tensors.sum(axis=(0, 1)), result.tensor)
        assert np.linalg.eigvalsh(result.tensor)[0] > 0


def test_relaxation_times_by_hand(relaxed, fine_modes, scattering):
    """sum C v v / (2 g) over non-degenerate modes, from the modes' own velocities."""
    omega, velocities = fine_modes.angular_frequencies, fine_modes.group_velocities()
    gaps = np.abs(omega[:, :, None] - omega[:, None, :]) + 1e3 * np.eye(6)
    single = gaps.min(axis=2) > 1e-3
    x = np.where(fine_modes.vibrating, omega, 1.0) * 1.054571817e-34 * 1e12 / (1.380649e-23 * 300.0)
    capacity = 1.380649e-23 * (x / 2 / np.sinh(x / 2)) ** 2
    by_hand = capacity * np.einsum("qna,qna->qn", velocities, velocities) * 1e4
    by_hand /= (
        2 * np.where(fine_modes.vibrating, scattering.half_widths[1], np.inf) * 1e12 * 125 * fine_modes.volume * 1e-30
    )
    found = np.einsum("qnaa->qn", relaxed[1].mode_tensors)
    assert single.sum() > 300
    np.testing.assert_allclose(found[single], by_hand[single], rtol=1e-6, atol=1e-8)


def test_populations_leave_out_coherence(relaxed, solved):
    for result in (*relaxed, *solved):
        assert 0.9 * result.value < np.trace(result.populations) / 3 < result.value
    coherences = [r.value - np.trace(r.populations) / 3 for r in (relaxed[1], solved[1])]
    assert coherences[0] == pytest.approx(coherences[1], rel=1e-9)


def test_cumulative_conductivity(relaxed, solved):
    for result in (relaxed[1], solved[1]):
        frequencies = np.linspace(0, 20, 50)
        rising = result.cumulative("frequency_THz", frequencies)
        assert rising[0] == 0
        assert rising[-1] == pytest.approx(result.value)
        paths = result.cumulative("mean_free_path", [-1e9, 1e9])
        assert paths[0] == 0
        assert paths[1] == pytest.approx(result.value)
    middle = relaxed[1].cumulative("mean_free_path", np.geomspace(1, 1e6, 30))
    assert (np.diff(middle) >= 0).all()


def test_mean_free_paths_of_relaxation_times(relaxed, fine_modes):
    speeds = np.linalg.norm(fine_modes.group_velocities(), axis=2)
    gaps = np.abs(np.subtract.outer(*[fine_modes.angular_frequencies[7]] * 2)) + 1e3 * np.eye(6)
    single = gaps.min(axis=1) > 1e-3
    expected = speeds[7] / (2 * relaxed[1].half_widths[7])
    np.testing.assert_allclose(relaxed[1].mean_free_paths[7][single], expected[single], rtol=1e-6)


def test_other_scattering_adds_up(scattering, relaxed):
    other = 0.5 * relaxed[1].half_widths
    found = boltzmann_conductivity(scattering, other_half_widths=other)[1]
    assert found.value == pytest.approx(relaxed[1].value / 1.5)
    np.testing.assert_allclose(found.half_widths, 1.5 * relaxed[1].half_widths)


def test_grains_limit_mean_free_paths(scattering, relaxed):
    size = 50.0  # Å
    found = boltzmann_conductivity(scattering, grain_size=size)[1]
    assert found.mean_free_paths.max() < size
    assert found.value < 0.5 * relaxed[1].value
    huge = boltzmann_conductivity(scattering, grain_size=1e9)[1]
    assert huge.value == pytest.approx(relaxed[1].value, rel=1e-4)


def test_classical_statistics_meet_quantum_ones_when_hot(fine_modes, triplets):
    values = {}
    for statistics in ("quantum", "classical"):
        found = three_phonon_scattering(
            fine_modes, triplets, [300.0, 3000.0], broadening_THz=0.4, statistics=statistics, collisions=True
        )
        values[statistics] = [r.value for r in boltzmann_conductivity(found, method="direct")]
    ratio = np.array(values["quantum"]) / values["classical"]
    assert abs(ratio[1] - 1) < 0.01 < abs(ratio[0] - 1)
    assert values["classical"][0] == pytest.approx(10 * values["classical"][1], rel=1e-6)  # exactly 1 / T


def test_an_adaptive_broadening_is_solved_directly(fine_modes, triplets):
    found = three_phonon_scattering(fine_modes, triplets, 300.0, collisions=True)
    assert boltzmann_conductivity(found, method="direct")[0].value > boltzmann_conductivity(found)[0].value
    with pytest.raises(ValueError, match=r"differs from its transpose.*use 'direct'"):
        boltzmann_conductivity(found, method="iterative")


def test_bad_input(scattering, fine_modes, triplets, force_constants):
    with pytest.raises(TypeError, match="scattering is a VibrationalModes"):
        boltzmann_conductivity(fine_modes)
    with pytest.raises(ValueError, match="method is 'inverse'"):
        boltzmann_conductivity(scattering, method="inverse")
    with pytest.raises(ValueError, match="other_half_widths have shape"):
        boltzmann_conductivity(scattering, other_half_widths=np.zeros(3))
    with pytest.raises(ValueError, match="grain_size is -1"):
        boltzmann_conductivity(scattering, grain_size=-1)
    with pytest.raises(ValueError, match="quantity is 'wavelength'"):
        boltzmann_conductivity(scattering)[0].cumulative("wavelength", [1.0])
    coarse = vibrational_modes(force_constants, (2, 2, 2))
    rates = three_phonon_scattering(coarse, triplets, 300.0, broadening_THz=1e-3)
    with pytest.raises(ValueError, match="method is 'direct' without a collision matrix"):
        boltzmann_conductivity(rates, method="direct")
    with pytest.raises(ValueError, match=r"half widths of \d+ vibrating modes are zero at 300 K"):
        boltzmann_conductivity(rates)
