"""Panel to windows: gaps, scaling, covariates."""
