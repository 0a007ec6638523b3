"""Extract: one module for each kind of source, from a recipe to a delivery of Arrow chunks."""
