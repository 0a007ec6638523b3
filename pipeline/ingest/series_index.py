"""Number the series of a delivery, the same way in all of its chunks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.text import one_line

Positions = npt.NDArray[np.int64]


def is_valid_name(name: str) -> bool:
    """Return whether a name of a series has only visible characters and at least one."""
    return bool(name) and one_line(name) == name


class SeriesIndex:
    """All series names of a delivery, and a number for each pair of series and variable that has a value.

    Names have positions in the order in which they are first read. Numbers are given in the order in which pairs
    first have a value; series without any value get none.
    """

    def __init__(self) -> None:
        #: series names by position
        self.names: list[str] = []
        #: (series, variable) by number
        self.numbered: list[tuple[str, str]] = []
        self._names = pa.array([], pa.string())
        self._invalid: set[int] = set()
        self._numbers: dict[str, Positions] = {}

    def positions(self, names: pa.Array) -> Positions:
        """Return the position of each name [n]; new names are added."""
        encoded = pc.dictionary_encode(names)
        found = pc.index_in(encoded.dictionary, value_set=self._names)
        for name in encoded.dictionary.filter(pc.is_null(found)).to_pylist():
            if not is_valid_name(name):
                self._invalid.add(len(self.names))
            self.names.append(name)
        if found.null_count:
            self._names = pa.array(self.names, pa.string())
            found = pc.index_in(encoded.dictionary, value_set=self._names)
        distinct: Positions = found.to_numpy(zero_copy_only=False).astype(np.int64)
        positions: Positions = distinct[encoded.indices.to_numpy(zero_copy_only=False)]
        return positions

    def has_invalid_name(self, positions: Positions) -> npt.NDArray[np.bool_]:
        """Return for each position whether its name is not valid. [n]"""
        if not self._invalid:
            return np.zeros(len(positions), bool)
        return np.isin(positions, list(self._invalid))

    def assign_numbers(self, positions: Positions, variable: str) -> Positions:
        """Return the number of each series [n] for a variable that it has a value of; new pairs get the next number."""
        numbers = self._numbers_of(variable)
        for position in pd.unique(positions[numbers[positions] < 0]):
            numbers[position] = len(self.numbered)
            self.numbered.append((self.names[position], variable))
        return numbers[positions]

    def find_numbers(self, positions: Positions, variable: str) -> Positions:
        """Return the number of each series [n]; -1 where it has no value of the variable."""
        return self._numbers_of(variable)[positions]

    def _numbers_of(self, variable: str) -> Positions:
        """Return the numbers of all names for a variable, -1 where there is none yet."""
        numbers = self._numbers.get(variable, np.empty(0, np.int64))
        if len(numbers) < len(self.names):
            numbers = np.append(numbers, np.full(len(self.names) - len(numbers), -1))
            self._numbers[variable] = numbers
        return numbers
