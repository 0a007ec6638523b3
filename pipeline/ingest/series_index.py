"""Names of series as numbers, the same in all chunks of a delivery."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.text import one_line

Positions = npt.NDArray[np.int64]


def is_proper(name: str) -> bool:
    """Whether a name can be seen, and is one line."""
    return bool(name) and one_line(name) == name


class SeriesIndex:
    """All names that a delivery tells, in the order in which they come, and the series that have a value."""

    def __init__(self) -> None:
        self.names: list[str] = []
        #: series and variable by their number
        self.numbered: list[tuple[str, str]] = []
        self._known = pa.array([], pa.string())
        self._improper: set[int] = set()
        self._numbers: dict[str, Positions] = {}

    def positions(self, text: pa.Array) -> Positions:
        """Where the name of each row stands among all."""
        encoded = pc.dictionary_encode(text)
        at = pc.index_in(encoded.dictionary, value_set=self._known)
        for name in encoded.dictionary.filter(pc.is_null(at)).to_pylist():
            if not is_proper(name):
                self._improper.add(len(self.names))
            self.names.append(name)
        if at.null_count:
            self._known = pa.array(self.names, pa.string())
            at = pc.index_in(encoded.dictionary, value_set=self._known)
        position: Positions = at.to_numpy(zero_copy_only=False).astype(np.int64)
        of_rows: Positions = position[encoded.indices.to_numpy(zero_copy_only=False)]
        return of_rows

    def improper(self, positions: Positions) -> npt.NDArray[np.bool_]:
        """Which rows have no proper name."""
        if not self._improper:
            return np.zeros(len(positions), bool)
        return np.isin(positions, list(self._improper))

    def numbers(self, positions: Positions, variable: str) -> Positions:
        """The numbers of the series of rows that have a value of a variable; new series get the next ones."""
        numbers = self._all_numbers(variable)
        for position in pd.unique(positions[numbers[positions] < 0]):
            numbers[position] = len(self.numbered)
            self.numbered.append((self.names[position], variable))
        return numbers[positions]

    def number_of(self, positions: Positions, variable: str) -> Positions:
        """The same of series that may have no value; -1 for those."""
        return self._all_numbers(variable)[positions]

    def _all_numbers(self, variable: str) -> Positions:
        numbers = self._numbers.get(variable, np.empty(0, np.int64))
        if len(numbers) < len(self.names):
            numbers = np.append(numbers, np.full(len(self.names) - len(numbers), -1))
            self._numbers[variable] = numbers
        return numbers
