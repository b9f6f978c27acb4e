"""Tables of pair parameters as users give them: checked, completed, and laid out for the kernels."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from matterscape.checks import check_number
from matterscape.potentials._symbols import atomic_number

Pair = tuple[str, str]


def block(
    cutoff: float,
    parameters: Sequence[float],
    *,
    energy: Callable[..., torch.Tensor] | None = None,
    switch: float | None = None,
) -> list[float]:
    """Parameters of one functional form between two species, with the way in which it ends.

    Parameters
    ----------
    cutoff : float
        In Å.
    parameters : sequence of float
        Of the form, in the order of its columns in :mod:`_radial`.
    energy : callable, optional
        The form in torch; given, its value at the cutoff is subtracted.
    switch : float, optional
        From here (Å) to the cutoff the form is multiplied by the quintic that falls from 1 to 0 with two continuous
        derivatives.

    Raises
    ------
    ValueError
        If the cutoff is not positive, the switch is not below it, or both ways to end are asked for.
    """
    check_number("cutoff", cutoff, "Å", positive=True)
    if switch is not None:
        check_number("switch", switch, "Å")
        if switch >= cutoff:
            raise ValueError(f"switch is {switch!r}; accepted is a distance below the cutoff {cutoff!r}")
        if energy is not None:
            raise ValueError(f"switch is {switch!r} and shift is True; accepted is one of them")
    shift = 0.0
    if energy is not None:
        at_cutoff = torch.tensor([cutoff], dtype=torch.float64)
        shift = float(energy(at_cutoff, *(torch.tensor([p], dtype=torch.float64) for p in parameters)))
    return [cutoff, cutoff if switch is None else switch, shift, *parameters]


def complete(table: Mapping[Pair, Sequence[float] | None], names: Sequence[str]) -> tuple[tuple[str, ...], dict]:
    """Check a user's table of parameters.

    Parameters
    ----------
    table : mapping
        ``{(symbol, symbol): values or None}``, None meaning no interaction.
    names : sequence of str
        Of the values.

    Returns
    -------
    symbols : tuple of str
        In order of appearance.
    values : dict
        The pairs that interact, with their values as floats.

    Raises
    ------
    TypeError
        If the table is no mapping.
    ValueError
        If a pair of the species is missing or there twice, a symbol is unknown, or a value is not a finite number.
    """
    symbols = symbols_of(table)
    values: dict[Pair, tuple[float, ...]] = {}
    seen = set()
    for pair, given in table.items():
        key = unordered(pair)
        if key in seen:
            raise ValueError(f"the pair {pair[0]}-{pair[1]} is in the table twice; accepted is one order of the two")
        seen.add(key)
        if given is None:
            continue
        values[key] = checked_values(pair, given, names)
    for k, a in enumerate(symbols):
        for b in symbols[k:]:
            if unordered((a, b)) not in seen:
                raise ValueError(
                    f"there are no parameters for the pair {a}-{b}; accepted are values, or None for no interaction"
                )
    return symbols, values


def checked_values(pair: Pair, given: Sequence[float], names: Sequence[str]) -> tuple[float, ...]:
    """The values of a pair as floats; ``ValueError`` if they are not one finite number for each name."""
    if not isinstance(given, Sequence | np.ndarray) or len(given) != len(names):
        raise ValueError(f"values of {pair[0]}-{pair[1]} are {given!r}; accepted are {', '.join(names)}")
    for name, value in zip(names, given):
        check_number(f"{name} of {pair[0]}-{pair[1]}", value, signed=True)
    return tuple(float(value) for value in given)


def symbols_of(table: Mapping[Pair, object]) -> tuple[str, ...]:
    """Chemical symbols of a table ``{(symbol, symbol): ...}``, in order of appearance.

    Raises
    ------
    TypeError
        If the table is no mapping.
    ValueError
        If it is empty, a key is no pair, or a symbol is unknown.
    """
    if not isinstance(table, Mapping):
        raise TypeError(f"table is a {type(table).__name__}; accepted is a mapping {{(symbol, symbol): values}}")
    if not table:
        raise ValueError("the table of parameters is empty; accepted are values for at least one pair of species")
    for pair in table:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(f"the table has the key {pair!r}; accepted are pairs of symbols such as ('Na', 'Cl')")
    symbols = tuple(dict.fromkeys(symbol for pair in table for symbol in pair))
    for symbol in symbols:
        atomic_number(symbol)
    return symbols


def unordered(pair: Pair) -> Pair:
    """A pair of symbols in alphabetical order."""
    a, b = sorted(pair)
    return a, b


def checked_charges(charges: Mapping[str, float], symbols: tuple[str, ...]) -> dict[str, float]:
    """Charges of exactly these species; ``ValueError`` if one is missing or not a finite number."""
    if not isinstance(charges, Mapping):
        raise TypeError(f"charges is {charges!r}; accepted is a mapping {{symbol: charge}}")
    for symbol in symbols:
        if symbol not in charges:
            raise ValueError(f"charges has no charge of {symbol}; accepted is one for each of {', '.join(symbols)}")
        check_number(f"charge of {symbol}", charges[symbol], "elementary charges", signed=True)
    return {symbol: float(charges[symbol]) for symbol in symbols}
