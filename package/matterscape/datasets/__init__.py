"""Public data sets, readers for a user's own files, and generators of synthetic structures.

``names``, ``describe``, ``fetch`` and ``load`` serve the registry of public files: each is downloaded once from its
public address at a fixed commit, verified by its SHA-256 and kept in a cache folder. ``read_structures`` reads any
file that ASE reads. ``generators`` makes structures out of nothing but a seed.

Whatever a file calls its targets, the structures that come out carry ``info["energy"]`` (eV), ``arrays["forces"]``
(eV/Å) and ``info["stress"]`` (eV/Å^3), and no calculator.
"""

from matterscape.datasets import generators
from matterscape.datasets.cache import (
    CacheNotWritable,
    DatasetCorrupted,
    DatasetUnavailable,
    cache_folder,
    fetch,
    is_available,
)
from matterscape.datasets.loading import load
from matterscape.datasets.readers import (
    MixedPropertiesWarning,
    StructureFileError,
    Survey,
    read_structures,
    survey,
)
from matterscape.datasets.registry import Dataset, UnknownDataset, describe, names
from matterscape.datasets.tables import CountryTable, RegressionTable, load_regression_table, who_countries

__all__ = [
    "CacheNotWritable",
    "CountryTable",
    "Dataset",
    "DatasetCorrupted",
    "DatasetUnavailable",
    "MixedPropertiesWarning",
    "RegressionTable",
    "StructureFileError",
    "Survey",
    "UnknownDataset",
    "cache_folder",
    "describe",
    "fetch",
    "generators",
    "is_available",
    "load",
    "load_regression_table",
    "names",
    "read_structures",
    "survey",
    "who_countries",
]
