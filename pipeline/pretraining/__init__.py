"""Networks that ship with the package: the series that they learned from, how they are fitted, and how they are read."""
