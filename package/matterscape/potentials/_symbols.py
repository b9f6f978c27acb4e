"""Chemical symbols that users give, checked."""

from collections.abc import Sequence

from ase.data import atomic_numbers


def atomic_number(symbol: str) -> int:
    """Atomic number of a chemical symbol; ``ValueError`` if there is none."""
    if atomic_numbers.get(symbol, 0) == 0:
        raise ValueError(f"species {symbol!r} is unknown; accepted are chemical symbols")
    return atomic_numbers[symbol]


def numbers_of(species: Sequence[str]) -> tuple[int, ...]:
    """Atomic numbers of chemical symbols.

    Raises
    ------
    TypeError
        If the symbols are one string.
    ValueError
        If one is not a chemical symbol, if one occurs twice, or if there is none.
    """
    if isinstance(species, str):
        raise TypeError(f"species is {species!r}; accepted is a sequence of chemical symbols, e.g. ('Si', 'O')")
    if len(set(species)) != len(species) or len(species) == 0:
        raise ValueError(f"species is {tuple(species)!r}; accepted are one or more different chemical symbols")
    return tuple(atomic_number(symbol) for symbol in species)
