"""Properties of the points of a map: what the data say, and what follows from the geometry."""

import numpy as np
from ase import units
from ase.data import chemical_symbols, covalent_radii

from matterscape.structures import Structures
from matterscape.structures.properties import Properties, Property

BOND = 1.15  # largest distance of two bonded atoms, in units of the sum of their covalent radii
SAMPLES_PER_ELEMENT = 5
MAX_CATEGORIES = 12  # that colours can tell apart
ATOMS_PER_BLOCK = 4096
_DULL = ("masses", "tags", "energy", "free_energy")  # the energy per atom is shown


def composition(samples, level: str) -> np.ndarray:
    """Columns of the baseline: fractions of the elements in every frame, or the element of every point.

    Parameters
    ----------
    samples : Samples
    level : "structure" or "atom"

    Returns
    -------
    array (n_frames, n_species) or (n_points, n_species)
        A single column of ones where there are fewer than five structures for each element: they would be spent on
        the constants.
    """
    species = samples.structures.unique_species
    if len(samples.frames) < SAMPLES_PER_ELEMENT * len(species):
        return np.ones((len(samples.frames if level == "structure" else samples), 1))
    if level == "structure":
        return np.array([(atoms.numbers[:, None] == species).mean(axis=0) for atoms in samples.frames])
    return (samples.numbers_of_atoms[:, None] == species).astype(float)


def baseline_of(values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The best constant per element: what a model need not learn.

    Parameters
    ----------
    values : array (n_samples,)
    columns : array (n_samples, n_species)
        From `composition`.

    Returns
    -------
    array (n_samples,)
    """
    return columns @ np.linalg.lstsq(columns, values, rcond=None)[0]


def minus_element_means(values: np.ndarray, samples) -> np.ndarray:
    """Values of environments minus their mean over all environments of the same element.

    Parameters
    ----------
    values : array (n_points, n_columns)
    samples : Samples
        Of environments.

    Returns
    -------
    array (n_points, n_columns)
    """
    relative = np.empty_like(values)
    for number in samples.structures.unique_species:
        same = samples.numbers_of_atoms == number
        if same.any():
            relative[same] = values[same] - values[same].mean(axis=0)
    return relative


def coordination_numbers(structures: Structures) -> np.ndarray:
    """Number of bonded neighbours of every atom, from covalent radii.

    Parameters
    ----------
    structures : Structures

    Returns
    -------
    array (n_atoms,)
    """
    reach = BOND * covalent_radii[structures.species.numpy()]
    counts = []
    for block in structures.split(ATOMS_PER_BLOCK):
        radii = BOND * covalent_radii[block.species.numpy()]
        pairs = block.pairs(2 * float(reach.max()))
        first, second = pairs.first.numpy(), pairs.second.numpy()
        bonded = pairs.vectors.norm(dim=1).numpy() < radii[first] + radii[second]
        counts.append(np.bincount(first[bonded], minlength=block.n_atoms))
    return np.concatenate(counts).astype(float)


def shown_name(name: str) -> str:
    """What a map calls a property of the data: its words with spaces between them."""
    return name.strip("|").replace("_", " ") if not name.startswith("|") else f"|{shown_name(name[1:])}|"


def _renamed(prop: Property) -> Property:
    return Property(shown_name(prop.name), prop.values, prop.level, prop.unit)


def _telling(prop: Property) -> bool:
    """Whether a property distinguishes points at all, and does so in a way that colours can show."""
    if prop.categorical:
        return 1 < len(np.unique(prop.values)) <= MAX_CATEGORIES
    finite = prop.values[np.isfinite(prop.values)]
    return len(finite) > 0 and np.ptp(finite) > 1e-12 * max(1.0, np.abs(finite).max())


def _scalars(properties: Properties, level: str) -> list[Property]:
    """One number or label each: scalars as they are, vectors as norms, the stress as a pressure."""
    found = []
    for prop in properties.values():
        if prop.level != level or prop.name in _DULL:
            continue
        size = int(np.prod(prop.values.shape[1:]))
        if prop.scalar:
            found.append(_renamed(prop))
        elif prop.categorical:
            continue
        elif size == 3:
            name = "force" if prop.name == "forces" else shown_name(prop.name)
            found.append(Property(f"|{name}|", prop.norm().values, level, prop.unit))
        elif size in (6, 9):  # Voigt's order, or a whole tensor
            diagonal = prop.values.reshape(len(prop.values), size)[:, [0, 1, 2] if size == 6 else [0, 4, 8]]
            if prop.name == "stress":
                found.append(Property("pressure", -diagonal.mean(axis=1) / units.GPa, level, "GPa"))
            else:
                found.append(Property(f"mean {shown_name(prop.name)}", diagonal.mean(axis=1), level, prop.unit))
    return found


def targets_of_frames(samples, properties: Properties) -> dict[str, Property]:
    """Properties that a model can learn, one value per sample of the model.

    Parameters
    ----------
    samples : Samples
    properties : Properties
        Of the samples' frames.

    Returns
    -------
    dict of str to Property
        Of structures, the energy per atom first; then, for a map of environments, of its points.
    """
    found = _scalars(properties, "structure")
    if samples.level == "atom":
        of_atoms = _scalars(properties, "atom")
        found += [Property(prop.name, prop.values[samples.rows], "atom", prop.unit) for prop in of_atoms]
    fit = [p for p in found if not p.categorical and np.isfinite(p.values).all() and _telling(p)]
    fit.sort(key=lambda prop: prop.name != "energy per atom")
    return {prop.name: prop for prop in fit}


def properties_of_points(samples) -> dict[str, Property]:
    """What a map can be coloured by, one value per point, in the order of a menu.

    Parameters
    ----------
    samples : Samples

    Returns
    -------
    dict of str to Property
        Properties that are the same everywhere, and labels of more kinds than colours can tell apart, are left out.
    """
    properties = samples.properties
    of_frames = _scalars(properties, "structure")
    energy = properties.get("energy_per_atom")
    if energy is not None and np.isfinite(energy.values).all():
        columns = composition(samples, "structure")
        if columns.shape[1] > 1:
            above = energy.values - baseline_of(energy.values, columns)
            of_frames.insert(0, Property("energy above baseline", above, "structure", energy.unit))
    if all(atoms.pbc.all() for atoms in samples.frames):
        masses = np.array([atoms.get_masses().sum() for atoms in samples.frames])
        volumes = np.array([atoms.get_volume() for atoms in samples.frames])
        density = masses / volumes * 1e24 * units._amu * 1e3  # g/cm^3
        of_frames.append(Property("density", density, "structure", "g/cm³"))
    formulas = np.array([atoms.get_chemical_formula() for atoms in samples.frames])
    of_frames.append(Property("formula", formulas, "structure"))
    of_frames.append(Property("number of atoms", samples.n_atoms.astype(float), "structure"))
    of_atoms = _scalars(properties, "atom")
    of_atoms.append(Property("coordination", coordination_numbers(samples.structures), "atom"))

    if samples.level == "structure":
        index = np.repeat(np.arange(len(samples)), samples.n_atoms)
        for prop in of_atoms:
            if prop.categorical:
                continue
            if prop.name == "|force|":
                largest = np.full(len(samples), -np.inf)
                np.maximum.at(largest, index, prop.values)
                of_frames.append(Property("largest |force|", largest, "structure", prop.unit))
            else:
                mean = np.bincount(index, prop.values) / samples.n_atoms
                of_frames.append(Property(f"mean {prop.name}", mean, "structure", prop.unit))
        found = of_frames
    else:
        numbers = samples.numbers_of_atoms
        elements = Property("element", np.array(chemical_symbols)[numbers], "atom")
        frame = samples.environments[:, 0]
        found = [elements if _telling(elements) else Property("atomic number", numbers.astype(float), "atom")]
        found += [Property(prop.name, prop.values[samples.rows], "atom", prop.unit) for prop in of_atoms]
        found += [Property(f"structure's {p.name}", p.values[frame], "atom", p.unit) for p in of_frames]
    return {prop.name: prop for prop in found if _telling(prop)}
