"""Tables of numbers for regression: a user's own text files, and the country data that scikit-matter ships."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas

COMMENT = re.compile(r"^\s*%|(?:^|\s)#")
MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "null", "None", "-")

# World Bank indicators, the name of each input, and whether its logarithm is taken.
WHO_INPUTS = {
    "SP.POP.TOTL": ("log population", np.log),
    "SH.TBS.INCD": ("log (1 + tuberculosis cases per 100 000)", np.log1p),  # a few rows have none
    "SH.IMM.MEAS": ("measles immunisation / %", None),
    "SE.XPD.TOTL.GD.ZS": ("expenditure on education / % of GDP", None),
    "SH.DYN.AIDS.ZS": ("log HIV prevalence of adults / %", np.log),
    "SH.IMM.IDPT": ("diphtheria, pertussis and tetanus immunisation / %", None),
    "SH.XPD.CHEX.GD.ZS": ("expenditure on health / % of GDP", None),
    "SN.ITK.DEFC.ZS": ("undernourishment / %", None),
    "NY.GDP.PCAP.CD": ("log GDP per head / US dollar", np.log),
}
WHO_TARGET = "SP.DYN.LE00.IN"
WHO_LARGEST_PREVALENCE = 4.0  # percent of adults; above, a country-year counts as out of domain


@dataclass(frozen=True, eq=False)
class RegressionTable:
    """Inputs and targets, one row per sample.

    Attributes
    ----------
    inputs : array (n_samples, n_inputs), float64
    targets : array (n_samples,), float64
    input_names : tuple of str
    target_name : str
    """

    inputs: np.ndarray
    targets: np.ndarray
    input_names: tuple[str, ...]
    target_name: str


@dataclass(frozen=True, eq=False)
class CountryTable(RegressionTable):
    """Life expectancy of country-years.

    Attributes
    ----------
    countries : array (n_samples,) of str
    years : array (n_samples,), integer
    out_of_domain : array (n_samples,), bool
        Rows that a test of extrapolation leaves out of training and validation.
    """

    countries: np.ndarray
    years: np.ndarray
    out_of_domain: np.ndarray


def load_regression_table(
    path: str | Path, *, target: str | int = -1, ignore: Sequence[str | int] = (), drop_missing: bool = False
) -> RegressionTable:
    """Read a plain text table, such as those of the UCI collection, for regression.

    Fields are separated by semicolons, tabs, commas or blanks, whichever the first row has (in this order); with
    semicolons a comma may be the decimal sign. The first row is a header if none of its fields is a number. Empty
    lines, lines that start with % and what follows a # after a blank are left out.

    Parameters
    ----------
    path : str or Path
    target : str or int
        Column of the target, by name or number; the last one by default.
    ignore : list of str or int
        Columns to leave out, such as names.
    drop_missing : bool
        Leave out rows with missing values (empty, ``?``, ``NA`` ...) instead of raising an error.

    Returns
    -------
    RegressionTable
        Columns without a header are named by their numbers.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no text, holds no row or fewer than two columns, rows differ in length, a column is unknown, or
        a value is missing, infinite or no number.
    """
    path = Path(path)
    table = _text_table(path)
    target = _column(target, table, path)
    ignored = {_column(column, table, path) for column in ignore}
    if target in ignored:
        raise ValueError(f"ignore must not hold the target {target!r}")
    table = table.drop(columns=list(ignored))
    if table.shape[1] < 2:
        raise ValueError(f"{path} must have at least one input besides the target {target!r}, got none")

    missing = table.isin(MISSING)
    if missing.to_numpy().any():
        if not drop_missing:
            row, column = np.argwhere(missing.to_numpy())[0]
            raise ValueError(
                f"{path} misses {int(missing.to_numpy().sum())} values, the first in data row {row + 1}, column "
                f"{table.columns[column]!r}; drop_missing=True leaves out their rows"
            )
        table = table[~missing.any(axis=1)]
        if table.empty:
            raise ValueError(f"{path} must have a row without missing values, got none")

    numbers = _numbers(table, path)
    inputs = numbers.drop(columns=target)
    return RegressionTable(
        inputs=inputs.to_numpy(np.float64),
        targets=numbers[target].to_numpy(np.float64),
        input_names=tuple(inputs.columns),
        target_name=target,
    )


def _text_table(path: Path) -> "pandas.DataFrame":
    """All fields as texts, under their names."""
    import pandas

    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a plain text table, got bytes that are no text") from None
    lines = [line for line in (COMMENT.split(line)[0].strip(" \r\n") for line in text.splitlines()) if line]
    if not lines:
        raise ValueError(f"{path} must hold at least one row of numbers, got none")
    outside_quotes = re.sub(r'"[^"]*"', '""', lines[0])
    separator = next((sign for sign in ";\t," if sign in outside_quotes), " ")
    if separator == " ":
        lines = [" ".join(line.split()) for line in lines]
    header = None if any(_is_number(field, separator) for field in lines[0].split(separator)) else 0
    try:
        table = pandas.read_csv(
            io.StringIO("\n".join(lines)),
            sep=separator,
            header=header,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            index_col=False,
            engine="python",
        )
    except pandas.errors.ParserError as error:
        raise ValueError(f"{path} must have rows of equal length: {str(error).strip()}") from None
    if table.empty:
        raise ValueError(f"{path} must hold at least one row of numbers, got only a header")
    if table.isna().to_numpy().any():  # fields that are not there, not even empty
        row = int(np.argmax(table.isna().any(axis=1).to_numpy()))
        raise ValueError(f"{path} must have rows of equal length, got fewer fields in data row {row + 1}")
    table.columns = [str(name).strip() for name in table.columns]
    table = table.apply(lambda column: column.str.strip())
    if separator == ";":
        table = table.apply(lambda column: column.str.replace(",", ".", regex=False))
    return table


def _is_number(field: str, separator: str) -> bool:
    try:
        float(field.replace(",", ".") if separator == ";" else field)
    except ValueError:
        return False
    return True


def _column(column: str | int, table: "pandas.DataFrame", path: Path) -> str:
    names = list(table.columns)
    if isinstance(column, str) and column in names:
        return column
    if isinstance(column, int) and not isinstance(column, bool) and -len(names) <= column < len(names):
        return names[column]
    raise ValueError(f"column {column!r} is not in {path}, which has {', '.join(names)}")


def _numbers(table: "pandas.DataFrame", path: Path) -> "pandas.DataFrame":
    import pandas

    numbers = table.apply(pandas.to_numeric, errors="coerce")
    bad = ~np.isfinite(numbers.to_numpy(np.float64))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{path} must hold finite numbers, got {table.iloc[row, column]!r} in column {table.columns[column]!r}; "
            "ignore=[...] leaves out a column"
        )
    return numbers


def who_countries() -> CountryTable:
    """Life expectancy of 2020 country-years from nine indicators, with a split for extrapolation.

    World Bank data from 2001 to 2019 as scikit-matter ships them. Population, tuberculosis incidence, HIV prevalence
    and GDP per head, which span decades, enter as logarithms. Country-years in which more than 4 % of the adults live
    with HIV (169 rows) are marked as out of domain. Besides countries there are aggregates (regions, income groups),
    and consecutive years resemble each other, so that a random split tests interpolation only.

    Returns
    -------
    CountryTable
        Targets in years of life.
    """
    from skmatter.datasets import load_who_dataset

    data = load_who_dataset()["data"]
    columns = [data[code] if scale is None else scale(data[code]) for code, (_, scale) in WHO_INPUTS.items()]
    return CountryTable(
        inputs=np.stack([column.to_numpy(np.float64) for column in columns], axis=1),
        targets=data[WHO_TARGET].to_numpy(np.float64),
        input_names=tuple(name for name, _ in WHO_INPUTS.values()),
        target_name="life expectancy / years",
        countries=data["Country"].to_numpy(dtype=str),
        years=data["Year"].to_numpy(np.int64),
        out_of_domain=data["SH.DYN.AIDS.ZS"].to_numpy() > WHO_LARGEST_PREVALENCE,
    )
