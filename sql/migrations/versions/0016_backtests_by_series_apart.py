"""The comparison by series of a model's backtest, apart from the record that every cycle reads."""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    is_sqlite = op.get_context().dialect.name == "sqlite"
    op.execute(
        f"""
create table backtest_comparisons (
    recipe text not null,
    model_version integer not null,
    comparison text not null,
    constraint backtest_comparison_once primary key (recipe, model_version),
    constraint backtest_comparison_of_model foreign key (recipe, model_version) references models (recipe, model_version)
){" strict" if is_sqlite else ""}"""
    )
