"""Who reads views only can read sample paths, too: `latest_paths`. Views are made anew with every revision."""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    pass
