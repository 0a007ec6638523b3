"""Sources: one battery over all kinds, and a file for the faults of each."""
