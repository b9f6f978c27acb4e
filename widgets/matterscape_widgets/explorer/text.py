"""What the explorer says about points and data, as numbers and sentences."""

from typing import Any

import numpy as np
from ase import Atoms
from scipy.stats import spearmanr

from matterscape.maps import Outcome, Samples
from matterscape.structures.properties import Property

from ..study import sentence


def data_note(frames: list[Atoms], remark: str) -> str:
    """What the data are: where they come from, how many structures and atoms, which elements."""
    counts = [len(atoms) for atoms in frames]
    symbols = sorted({str(symbol) for atoms in frames for symbol in set(atoms.symbols)})
    elements = " ".join(symbols) if len(symbols) <= 8 else f"{len(symbols)} elements"
    return f"{remark}. {len(frames):,} structures, {sum(counts):,} atoms ({elements})."


def point_label(samples: Samples, point: int) -> str:
    """Name of a point, with the number of its structure in the data."""
    if samples.environments is None:
        return f"Structure {samples.numbers[point]} · {samples.frames[point].get_chemical_formula()}"
    frame, atom = samples.environments[point]
    return f"{samples.frames[frame].symbols[atom]} · atom {atom} of structure {samples.numbers[frame]}"


def short_label(samples: Samples, point: int) -> str:
    """Name of a point, for a button."""
    if samples.environments is None:
        return f"structure {samples.numbers[point]}"
    frame, atom = samples.environments[point]
    return f"{samples.frames[frame].symbols[atom]} {samples.numbers[frame]}:{atom}"


def with_unit(prop: Property) -> str:
    """Label of an axis or a menu."""
    return f"{prop.name} ({prop.unit})" if prop.unit else prop.name


def number(prop: Property, point: int) -> str:
    """One value of a property for a table, as finely as the property varies."""
    value = prop.values[point]
    if prop.categorical:
        return str(value)
    if not np.isfinite(value):
        return "unknown"
    finite = prop.values[np.isfinite(prop.values)]
    if (finite == np.round(finite)).all():
        return f"{value:,.0f}"
    digits = int(np.clip(2 - np.floor(np.log10(np.std(finite))), 0, 8)) if np.ptp(finite) else 3
    return f"{value:,.{digits}f}"


def card(outcome: Outcome, point: int) -> dict[str, Any]:
    """Traits of the `PointCard` of one point."""
    told = outcome.properties
    rows, verdict, level, of_model = [], "", "middle", set()
    if outcome.fit is not None:
        of_model = set(outcome.fit.points)
        held_out = "prediction" in of_model
        value = told["prediction" if held_out else "local prediction"].values[point]
        uncertainty, unit = told["uncertainty"].values[point], outcome.fit.target.unit
        name = outcome.fit.target.name
        what = f"predicted {name}" if held_out else f"local {name}, relative to its element"
        rows.append([what, f"{value:,.{_digits(uncertainty)}f} ± {uncertainty:.2g}", unit])
        if held_out:
            rows.append(["error", f"{told['error'].values[point]:+.2g}", unit])
        rigidities = told["log10 rigidity"].values
        below = 100 * np.mean(rigidities < rigidities[point])
        rows.append(["log10 rigidity", f"{rigidities[point]:.2f}", ""])
        if outcome.ensemble is not None:
            of_model |= set(outcome.ensemble.points)
            rows += _ensemble_rows(outcome, point)
        what = "structures" if outcome.samples.level == "structure" else "environments"
        if below < 10:
            verdict, level = (
                f"The model knows little here: {100 - below:.0f} % of the {what} are as rigid or more.",
                "low",
            )
        elif below < 75:
            verdict = f"The model knows this as well as most: more rigid than {below:.0f} % of the {what}."
        else:
            verdict, level = f"The model knows this well: more rigid than {below:.0f} % of the {what}.", "high"
    rows += [[name, number(p, point), p.unit] for name, p in told.items() if name not in of_model]
    neighbours = [
        [index, short_label(outcome.samples, index), f"{similarity:.4f}"]
        for index, similarity in outcome.neighbours(point)
    ]
    return {
        "title": point_label(outcome.samples, point),
        "rows": rows,
        "verdict": verdict,
        "level": level,
        "neighbours": neighbours,
        "point": point,
    }


def _ensemble_rows(outcome: Outcome, point: int) -> list[list[str]]:
    """What the ensemble says about a point, for its card."""
    told = {name: prop.values[point] for name, prop in outcome.ensemble.points.items()}
    name, unit = outcome.fit.target.name, outcome.fit.target.unit
    owner = "structure's " if "structure's ensemble prediction" in told else ""
    if "ensemble local prediction" in told:
        what, value = f"local {name} by the ensemble", told["ensemble local prediction"]
    else:
        what, value = f"{owner}{name} by the ensemble", told[f"{owner}ensemble prediction"]
    uncertainty = told[f"{owner}ensemble uncertainty"]
    rows = [[what, f"{value:,.{_digits(uncertainty)}f} ± {uncertainty:.2g}", unit]]
    if outcome.samples.level == outcome.fit.target.level:
        rows.append(["error of the ensemble", f"{outcome.ensemble.error[point]:+.2g}", unit])
    rigidity = f"{owner}log10 rigidity of the network"
    return [*rows, [rigidity, f"{told[rigidity]:.2f}", ""]]


def _digits(uncertainty: float) -> int:
    """Digits after the point that an uncertainty leaves meaningful, and one more."""
    return int(np.clip(2 - np.floor(np.log10(max(uncertainty, 1e-12))), 0, 8))


def two_uncertainties(outcome: Outcome) -> str:
    """How a new ensemble does beside the ridge model, and whether their uncertainties agree."""
    ridge, ensemble = outcome.fit, outcome.ensemble
    unit = f" {ridge.target.unit}" if ridge.target.unit else ""
    order = spearmanr(ridge.uncertainty, ensemble.uncertainty).statistic
    return (
        f"Ensemble of {ensemble.model.n_members} networks: cross-validated error {ensemble.rmse:.3g}{unit} (ridge "
        f"{ridge.rmse:.3g}{unit}), area of miscalibration {ensemble.miscalibration_area:.3f} (ridge "
        f"{ridge.miscalibration_area:.3f}). The ranks of the two uncertainties correlate by {order:.2f}."
    )


def timing(outcome: Outcome) -> str:
    """What the last step did and how long it took."""
    features = outcome.features
    what = f"{len(outcome.samples):,} {'structures' if outcome.samples.level == 'structure' else 'environments'}"
    parts = [f"{what}, {features.n_raw:,} features"]
    total = sum(outcome.seconds.values())
    if total:
        stages = ", ".join(f"{name} {seconds:.2g} s" for name, seconds in outcome.seconds.items() if seconds > 0.005)
        parts.append(f"last step {total:.2g} s" + (f" ({stages})" if stages else ""))
    if outcome.fit is not None:
        fit = outcome.fit
        unit = f" {fit.target.unit}" if fit.target.unit else ""
        parts.append(f"cross-validated error {fit.rmse:.3g}{unit}, spread {fit.spread:.3g}{unit}")
    return ". ".join([" · ".join(parts), *outcome.remarks])


def complaint(problem: Exception) -> str:
    """An exception as a sentence; those of this package need no name of their type before them."""
    plain = isinstance(problem, OSError) and problem.errno is None
    return closed(sentence(str(problem) if plain else problem))


def closed(said: str) -> str:
    """A sentence with the full stop that it may lack."""
    return said if said.endswith((".", "?", "!")) else f"{said}."
