"""From a list of frames to a structure-property map in one call."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from ase import Atoms

from matterscape.maps.chemiscope_data import MapResult
from matterscape.maps.exploration import Exploration, Settings
from matterscape.maps.hyperparameters import suggest_hyperparameters
from matterscape.maps.projection import METHODS, SUPERVISED
from matterscape.maps.shown_properties import shown_name

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
    ensemble: bool = False,
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
        Property that a ridge model is fitted to, by its name in the data or on the map. An energy is modelled per atom,
        with a constant for each species where the structures are many. In a map of environments a target of the
        structures gives each environment its own contribution, relative to the mean of its element.
    ensemble : bool
        Train a shallow ensemble of networks on the target, too: predictions and error bars of a second kind.
    max_environments : int
        A map of more environments shows a random sample of this size.
    seed : int
    on_progress : callable, optional
        Called with the fraction done and what is being done; an exception that it raises ends the work.

    Returns
    -------
    MapResult
        With the frames' properties and, with a target, cross-validated predictions, their errors, uncertainties and
        the rigidities of the predictions; with an ensemble, the same of its networks. Its environments count the frames
        as they were given.

    Raises
    ------
    TypeError, ValueError
        If frames, options or the target are unfit; the message names what and why.
    """
    if projection not in METHODS:
        raise ValueError(f"projection must be one of {', '.join(METHODS)}, got {projection!r}")
    if projection in SUPERVISED and target is None:
        raise ValueError(f"target must be given for projection {projection!r}")
    if ensemble and target is None:
        raise ValueError("target must be given for an ensemble, which learns it")
    if max_environments < 3:
        raise ValueError(f"max_environments must be at least 3, got {max_environments}")
    report = on_progress or (lambda fraction, what: None)
    report(0.0, "reading properties")
    frames = list(frames)
    max_points = len(frames) if per == "structure" else max_environments
    exploration = Exploration(frames, max_points=max_points, seed=seed)
    learnt = None if target is None else _learnable(exploration, per, target)
    given = {"cutoff": cutoff, "smearing": smearing, "max_radial": max_radial, "max_angular": max_angular}
    automatic = suggest_hyperparameters(exploration.structures, seed=seed)
    settings = Settings(
        per=per,
        **{name: automatic[name] if value is None else value for name, value in given.items()},
        species_channels=species_channels,
        method=projection,
        mixing=mixing,
        target=learnt,
    )
    share = 0.3 if ensemble else 1.0  # of the time
    outcome = exploration.run(settings, lambda fraction, what: report(share * fraction, what))
    if ensemble:
        outcome = exploration.ensemble(outcome, lambda fraction, what: report(share + (1 - share) * fraction, what))
    result = outcome.map_result()
    if result.environments is None:
        return result
    structure, atom = result.environments.T
    return replace(result, frames=frames, environments=np.column_stack([outcome.samples.numbers[structure], atom]))


def _learnable(exploration: Exploration, per: str, target: str) -> str:
    """Name on the map of a property that a model can learn, from its name there or in the data."""
    targets = exploration.targets(per)
    intensive = "energy_per_atom" if target == "energy" else target
    name = shown_name(intensive)
    if name not in targets:
        if exploration.samples(per).properties.target(intensive).level == "atom" and per == "structure":
            raise ValueError(f"target {target!r} belongs to atoms, give a property of structures or per='atom'")
        raise ValueError(
            f"target is {target!r}, which is constant, extensive or only a tag; "
            f"accepted are {', '.join(targets) or 'none of these data'}"
        )
    return name
