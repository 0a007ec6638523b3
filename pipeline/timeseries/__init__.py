"""Values of the trade: panels, observations, forecasts, frequencies. No I/O, no configuration."""
