"""What an operator writes: recipes, sources, settings."""
