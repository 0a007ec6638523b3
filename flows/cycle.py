"""The main job: ingest, train if due, forecast, score; MLflow follows."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.opening import Opened, opened
from flows.support import carry_out
from pipeline import jobs


@flow(name="cycle", flow_run_name="cycle {recipe}", persist_result=False)
def cycle(recipe: str, training: str | None = None, as_of: datetime | None = None) -> dict[str, Any]:
    """One cycle of a recipe; safe to repeat.

    Args:
        recipe: its name, or a path to a TOML file.
        training: retrain, fine-tune or keep, overruling the policy.
        as_of: run it as it would have run then: nothing is ingested, and the run is marked as a backfill.

    Returns:
        what `nextperiod run --json` prints.
    """
    with opened(recipe) as at, jobs.attempt(at.recipe, at.store, "run", at.now) as outcome:
        if as_of is None:
            carry_out(at, "ingest", jobs.ingest, at.now, must_train=True)
        trained = carry_out(at, "train", jobs.train, at.now, asked=training, as_of=as_of)
        published = carry_out(at, "forecast", jobs.forecast, at.now, as_of=as_of)
        carry_out(at, "score", jobs.score)
        carry_out(at, "mlflow", jobs.follow, at.registry, at.now)
        outcome.append(published.status)
        facts = report(at, trained, published)
        create_markdown_artifact(markdown(at, facts), key=f"forecast-{at.recipe.name}", description=facts["run_id"])
        return facts


def report(at: Opened, trained: jobs.Trained, published: jobs.Published) -> dict[str, Any]:
    """The cycle's facts under the names that `run --json` promises."""
    model = at.store.model(at.recipe.name, published.model_version)
    return {
        "recipe": at.recipe.name,
        **{key: value for key, value in asdict(published).items() if key != "num_fallback"},
        "training": trained.training,
        "reason": trained.reason,
        "skill": model.skill if model else None,
        "mlflow_run_id": model.mlflow_run_id if model else None,
        "seconds": at.seconds,
    }


def markdown(at: Opened, facts: dict[str, Any]) -> str:
    """The forecast as a table, with where MLflow shows the training."""
    rows = [
        f"| {row['series']} | {str(row['period'])[:16]} | {row['mean']:,.4g} | {row['lower_80']:,.4g} | {row['upper_80']:,.4g} |"
        for row in at.store.latest_forecasts(at.recipe.name)[:200]
    ]
    run = facts["mlflow_run_id"]
    training = at.registry.run_address(run) if run else "MLflow has not followed yet"
    head = f"# {at.recipe.name} after {facts['origin']}\n\n{facts['status']}, model {facts['model_version']} ({facts['reason']}): {training}\n"
    return "\n".join([head, "| series | period | mean | lower 80 | upper 80 |", "|---|---|---:|---:|---:|", *rows])
