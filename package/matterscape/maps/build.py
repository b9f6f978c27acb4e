"""From a list of frames to a structure-property map in one call."""

from collections.abc import Callable, Iterable

import numpy as np
from ase import Atoms

from matterscape.maps.chemiscope_data import MapResult
from matterscape.maps.hyperparameters import pseudo_species, suggest_hyperparameters
from matterscape.maps.projection import METHODS, project
from matterscape.models import RidgeModel
from matterscape.structures.properties import Properties, Property, collect_properties

ATOMS_PER_CHUNK = 4096
FLOAT32_ABOVE = 20_000_000  # entries of a feature matrix; larger ones are kept in single precision
EXTENSIVE = {"energy": "energy_per_atom"}

OnProgress = Callable[[float, str], None]


def build_map(
    frames: Iterable[Atoms],
    *,
    per: str = "structure",
    cutoff: float | None = None,
    max_radial: int | None = None,
    max_angular: int | None = None,
    smearing: float | None = None,
    species_channels: int | None = None,
    projection: str = "pca",
    mixing: float = 0.5,
    target: str | None = None,
    max_environments: int = 10_000,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> MapResult:
    """SOAP features of structures or environments, their projection, and a model of a property with uncertainties.

    Hyper-parameters that are None are chosen to suit the structures
    (:func:`~matterscape.maps.hyperparameters.suggest_hyperparameters`).

    Parameters
    ----------
    frames : iterable of ase.Atoms
        Properties in ``info`` and ``arrays``.
    per : "structure" or "atom"
        What a point of the map is. Structures have the mean of their atoms' features.
    cutoff, smearing : float, optional
        In Å.
    max_radial, max_angular : int, optional
    species_channels : int, optional
        Number of pseudo-species that share the density channels; chosen for more than six species.
    projection : "pca", "kpca", "pcovr" or "kpcovr"
    mixing : float
        Of the supervised projections, which need a target.
    target : str, optional
        Property that a ridge model is fitted to. An energy is modelled per atom with a constant for each species. In a
        map of environments a target of the structures gives each environment its own contribution, relative to the mean
        of its element.
    max_environments : int
        A map of more environments shows a random sample of this size.
    seed : int
    on_progress : callable, optional
        Called with the fraction done and what is being done; an exception that it raises ends the work.

    Returns
    -------
    MapResult
        With the frames' properties and, with a target, leave-one-out predictions, their errors, uncertainties and
        the rigidities of the predictions.

    Raises
    ------
    TypeError, ValueError
        If frames, options or the target are unfit; the message names what and why.
    """
    from matterscape.descriptors import PowerSpectrum
    from matterscape.structures import Structures

    if per not in ("structure", "atom"):
        raise ValueError(f"per must be 'structure' or 'atom', got {per!r}")
    if projection not in METHODS:
        raise ValueError(f"projection must be one of {', '.join(METHODS)}, got {projection!r}")
    if projection.endswith("pcovr") and target is None:
        raise ValueError(f"target must be given for projection {projection!r}")
    if max_environments < 3:
        raise ValueError(f"max_environments must be at least 3, got {max_environments}")
    report = on_progress or (lambda fraction, what: None)
    report(0.0, "reading properties")
    frames = list(frames)
    properties = collect_properties(frames)
    goal = None if target is None else properties.target(EXTENSIVE.get(target, target))
    if goal is not None and goal.level == "atom" and per == "structure":
        raise ValueError(f"target {target!r} belongs to atoms, give a property of structures or per='atom'")
    structures = Structures.from_ase(frames)
    if (per == "structure" and len(frames) < 3) or structures.n_atoms < 3:
        raise ValueError(f"frames must hold at least 3 {per}s for a map, got {len(frames)} structures")

    chosen = {
        "cutoff": cutoff,
        "smearing": smearing,
        "max_radial": max_radial,
        "max_angular": max_angular,
        "species_channels": species_channels,
    }
    automatic = suggest_hyperparameters(structures, seed=seed)
    settings = {name: automatic[name] if value is None else value for name, value in chosen.items()}
    channels = settings["species_channels"]
    weights = None if channels is None else pseudo_species(structures.unique_species, channels)
    soap = PowerSpectrum(structures.unique_species, normalise=True, **{**settings, "species_channels": weights})

    atoms = None
    if per == "atom":
        atoms = np.arange(structures.n_atoms)
        if len(atoms) > max_environments:
            atoms = np.sort(np.random.default_rng(seed).choice(atoms, max_environments, replace=False))
    of_structures, of_atoms = _features(soap, structures, atoms, report)
    features = of_structures if atoms is None else of_atoms

    model, modelled = None, {}
    if goal is not None:
        report(0.7, f"fitting {goal.name}")
        model, modelled = _fit(goal, structures, of_structures, of_atoms, atoms)

    report(0.85, "projecting")
    supervision = None
    if goal is not None:
        supervision = goal.values if atoms is None else _on_environments(goal, structures, atoms)
    projected = project(features, projection, targets=supervision, mixing=mixing, seed=seed)

    shown = {**_shown_properties(properties, structures, atoms, frames), **modelled}
    report(1.0, "done")
    return MapResult(
        coordinates=projected.coordinates,
        labels=projected.labels,
        properties=shown,
        frames=frames,
        environments=None if atoms is None else _structure_and_atom(structures, atoms),
        cutoff=float(settings["cutoff"]),
        settings={"per": per, **settings, "projection": projection, "target": target, "seed": seed},
        colour=_first_colour(goal, atoms, shown),
        features=features,
        model=model,
        remarks=_remarks(properties, projected, model, goal, structures, atoms),
    )


def _features(soap, structures, atoms, report) -> tuple[np.ndarray, np.ndarray | None]:
    """Mean features of every structure and features of the chosen atoms, from one pass in chunks."""
    n_rows = len(structures) + (0 if atoms is None else len(atoms))
    dtype = np.float32 if n_rows * soap.n_features > FLOAT32_ABOVE else np.float64
    means = np.empty((len(structures), soap.n_features), dtype)
    rows = None if atoms is None else np.empty((len(atoms), soap.n_features), dtype)
    first_structure = first_atom = 0
    for chunk in structures.split(ATOMS_PER_CHUNK):
        report(0.05 + 0.65 * first_atom / structures.n_atoms, "computing features")
        here = slice(first_structure, first_structure + len(chunk))
        if atoms is None:
            means[here] = soap(chunk, pooling="mean").numpy()
        else:
            values = soap(chunk)
            summed = values.new_zeros(len(chunk), values.shape[1]).index_add_(0, chunk.structure_index, values)
            means[here] = (summed / chunk.atoms_per_structure[:, None]).numpy()
            start, stop = np.searchsorted(atoms, [first_atom, first_atom + chunk.n_atoms])
            rows[start:stop] = values.numpy()[atoms[start:stop] - first_atom]
        first_structure += len(chunk)
        first_atom += chunk.n_atoms
    return means, rows


def _fit(goal: Property, structures, of_structures, of_atoms, atoms) -> tuple[RidgeModel, dict[str, Property]]:
    """Fitted model and the properties that it adds to the map."""
    one_hot = (structures.species.numpy()[:, None] == np.array(structures.unique_species)).astype(float)
    index = structures.structure_index.numpy()
    fractions = np.zeros((len(structures), one_hot.shape[1]))
    np.add.at(fractions, index, one_hot)
    fractions /= fractions.sum(axis=1, keepdims=True)

    local_target = goal.level == "atom"
    values = goal.values[atoms] if local_target else goal.values
    if len(values) < 3:
        raise ValueError(f"target {goal.name!r} must be known for at least 3 {goal.level}s, got {len(values)}")
    model = RidgeModel(folds="loo")  # closed form, so a single decomposition serves thousands of samples
    composition = one_hot[atoms] if local_target else fractions
    model.fit(of_atoms if local_target else of_structures, values, composition=composition)

    level = "structure" if atoms is None else "atom"
    if atoms is None or local_target:
        predictions, spread = model.held_out_predictions, model.held_out_uncertainties
        entries = {
            f"{goal.name} (cross-validated)": (predictions, goal.unit),
            f"{goal.name} error": (predictions - values, goal.unit),
            f"{goal.name} uncertainty": (spread, goal.unit),
        }
        variance = np.square(spread) / model.variance_scale
    else:
        # The constant of an element is arbitrary where the composition never varies, so it is taken out.
        elements, local = one_hot[atoms], model.predict(of_atoms, composition=one_hot[atoms])
        means = elements.T @ local / np.maximum(elements.sum(axis=0), 1.0)
        entries = {f"local {goal.name}": (local - elements @ means, goal.unit)}
        variance = 1.0 / model.rigidity(of_atoms, composition=elements)
    entries["log10 rigidity"] = (-np.log10(np.maximum(variance, np.finfo(float).tiny)), "")
    return model, {name: Property(name, column, level, unit) for name, (column, unit) in entries.items()}


def _on_environments(prop: Property, structures, atoms) -> np.ndarray:
    return prop.values[atoms] if prop.level == "atom" else prop.values[structures.structure_index.numpy()[atoms]]


def _structure_and_atom(structures, atoms) -> np.ndarray:
    structure = structures.structure_index.numpy()[atoms]
    return np.stack([structure, atoms - structures.offsets.numpy()[structure]], axis=1)


def _shown_properties(properties: Properties, structures, atoms, frames) -> dict[str, Property]:
    """The frames' own properties, each with one value per point of the map."""
    level = "structure" if atoms is None else "atom"
    index, counts = structures.structure_index.numpy(), structures.atoms_per_structure.numpy()
    shown = []
    for prop in properties.values():
        if prop.categorical and not prop.scalar:
            continue
        prop = prop if prop.scalar else prop.norm()
        if atoms is not None:
            shown.append(Property(prop.name, _on_environments(prop, structures, atoms), level, prop.unit))
        elif prop.level == "structure":
            shown.append(prop)
        elif not prop.categorical:
            mean = np.bincount(index, prop.values, minlength=len(counts)) / counts
            shown.append(Property(f"mean {prop.name}", mean, level, prop.unit))
    formulas = np.array([atoms_.get_chemical_formula() for atoms_ in frames])
    if atoms is None:
        shown.append(Property("number of atoms", counts.astype(float), level))
        shown.append(Property("formula", formulas, level))
    else:
        from ase.data import chemical_symbols

        shown.append(Property("element", np.array(chemical_symbols)[structures.species.numpy()[atoms]], level))
        shown.append(Property("structure", index[atoms].astype(float), level))
    return {prop.name: prop for prop in shown}


def _first_colour(goal, atoms, shown) -> str | None:
    wanted = [] if goal is None else [goal.name] if atoms is None or goal.level == "atom" else [f"local {goal.name}"]
    wanted += ["energy_per_atom"] if atoms is None else ["element"]
    numeric = [name for name, prop in shown.items() if not prop.categorical]
    return next((name for name in wanted + numeric if name in shown), None)


def _remarks(properties, projected, model, goal, structures, atoms) -> tuple[str, ...]:
    remarks = [properties.missing_sentence]
    remarks.append(f"The coordinates carry {100 * projected.explained_variance.sum():.0f} % of the variance")
    if model is not None:
        path = model.regularisation_path
        unit = f" {goal.unit}" if goal.unit else ""
        remarks.append(f"Leave-one-out error of {goal.name}: {path.rmse[path.best]:.3g}{unit}")
        if path.at_edge:
            remarks.append(f"The best regularisation {model.chosen_regularisation:.0e} lies at the edge of the grid")
    if atoms is not None and len(atoms) < structures.n_atoms:
        remarks.append(f"A random sample of {len(atoms)} of {structures.n_atoms} environments")
    return tuple(filter(None, remarks))
