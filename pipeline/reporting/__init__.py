"""Charts, HTML report, model card."""
