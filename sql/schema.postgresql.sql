CREATE TABLE schema_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT schema_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE recipes (
    recipe TEXT NOT NULL, 
    definition TEXT NOT NULL, 
    fingerprint TEXT NOT NULL, 
    epoch INTEGER DEFAULT '0' NOT NULL, 
    champion_version INTEGER, 
    PRIMARY KEY (recipe)
);

CREATE TABLE series (
    series_id BIGSERIAL NOT NULL, 
    recipe TEXT NOT NULL, 
    series TEXT NOT NULL, 
    PRIMARY KEY (series_id), 
    CONSTRAINT series_name_once UNIQUE (recipe, series), 
    FOREIGN KEY(recipe) REFERENCES recipes (recipe)
);

CREATE TABLE batches (
    batch_id BIGSERIAL NOT NULL, 
    recipe TEXT NOT NULL, 
    source TEXT NOT NULL, 
    content_hash TEXT NOT NULL, 
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL, 
    status TEXT NOT NULL, 
    message TEXT, 
    num_read INTEGER NOT NULL, 
    num_new INTEGER NOT NULL, 
    num_revised INTEGER NOT NULL, 
    num_same INTEGER NOT NULL, 
    num_rejected INTEGER NOT NULL, 
    PRIMARY KEY (batch_id), 
    CONSTRAINT batch_status CHECK (status in ('accepted', 'refused')), 
    FOREIGN KEY(recipe) REFERENCES recipes (recipe)
);

CREATE INDEX batches_of_recipe ON batches (recipe, recorded_at);

CREATE TABLE observations (
    series_id BIGINT NOT NULL, 
    period TIMESTAMP WITHOUT TIME ZONE NOT NULL, 
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL, 
    value DOUBLE PRECISION NOT NULL, 
    batch_id BIGINT NOT NULL, 
    CONSTRAINT observation_once PRIMARY KEY (series_id, period, recorded_at), 
    CONSTRAINT observation_finite CHECK (value between -1.7976931348623157e308 and 1.7976931348623157e308), 
    FOREIGN KEY(series_id) REFERENCES series (series_id), 
    FOREIGN KEY(batch_id) REFERENCES batches (batch_id)
);

CREATE TABLE rejections (
    rejection_id BIGSERIAL NOT NULL, 
    batch_id BIGINT NOT NULL, 
    line INTEGER, 
    column_name TEXT, 
    series TEXT, 
    text TEXT, 
    rule TEXT NOT NULL, 
    PRIMARY KEY (rejection_id), 
    FOREIGN KEY(batch_id) REFERENCES batches (batch_id)
);

CREATE TABLE models (
    recipe TEXT NOT NULL, 
    model_version INTEGER NOT NULL, 
    model_hash TEXT NOT NULL, 
    training TEXT NOT NULL, 
    reason TEXT NOT NULL, 
    cutoff TIMESTAMP WITHOUT TIME ZONE NOT NULL, 
    as_of TIMESTAMP WITH TIME ZONE NOT NULL, 
    data_hash TEXT NOT NULL, 
    recipe_fingerprint TEXT NOT NULL, 
    training_fingerprint TEXT NOT NULL, 
    code_version TEXT NOT NULL, 
    record TEXT NOT NULL, 
    skill DOUBLE PRECISION, 
    trained_at TIMESTAMP WITH TIME ZONE NOT NULL, 
    mlflow_run_id TEXT, 
    CONSTRAINT model_version_once PRIMARY KEY (recipe, model_version), 
    CONSTRAINT model_hash_once UNIQUE (recipe, model_hash), 
    FOREIGN KEY(recipe) REFERENCES recipes (recipe)
);

CREATE TABLE model_files (
    recipe TEXT NOT NULL, 
    model_version INTEGER NOT NULL, 
    name TEXT NOT NULL, 
    content BYTEA NOT NULL, 
    CONSTRAINT model_file_once PRIMARY KEY (recipe, model_version, name), 
    CONSTRAINT file_of_model FOREIGN KEY(recipe, model_version) REFERENCES models (recipe, model_version)
);

CREATE TABLE runs (
    run_id TEXT NOT NULL, 
    recipe TEXT NOT NULL, 
    kind TEXT NOT NULL, 
    origin TIMESTAMP WITHOUT TIME ZONE NOT NULL, 
    as_of TIMESTAMP WITH TIME ZONE NOT NULL, 
    status TEXT NOT NULL, 
    data_hash TEXT NOT NULL, 
    recipe_fingerprint TEXT NOT NULL, 
    model_version INTEGER NOT NULL, 
    model_hash TEXT NOT NULL, 
    code_version TEXT NOT NULL, 
    num_series INTEGER NOT NULL, 
    num_fallback INTEGER NOT NULL, 
    num_rows INTEGER NOT NULL, 
    content_hash TEXT NOT NULL, 
    expected_next_by TIMESTAMP WITH TIME ZONE NOT NULL, 
    published_at TIMESTAMP WITH TIME ZONE, 
    superseded_by TEXT, 
    PRIMARY KEY (run_id), 
    CONSTRAINT run_by_model FOREIGN KEY(recipe, model_version) REFERENCES models (recipe, model_version), 
    CONSTRAINT run_kind CHECK (kind in ('live', 'backfill')), 
    CONSTRAINT run_status CHECK (status in ('staged', 'published', 'superseded')), 
    CONSTRAINT run_published_at CHECK (status = 'staged' or published_at is not null), 
    FOREIGN KEY(recipe) REFERENCES recipes (recipe), 
    FOREIGN KEY(superseded_by) REFERENCES runs (run_id)
);

CREATE UNIQUE INDEX one_published_run ON runs (recipe, kind, origin) WHERE status = 'published';

CREATE TABLE forecasts (
    run_id TEXT NOT NULL, 
    series_id BIGINT NOT NULL, 
    step INTEGER NOT NULL, 
    period TIMESTAMP WITHOUT TIME ZONE NOT NULL, 
    mean DOUBLE PRECISION NOT NULL, 
    lower_95 DOUBLE PRECISION NOT NULL, 
    lower_80 DOUBLE PRECISION NOT NULL, 
    median DOUBLE PRECISION NOT NULL, 
    upper_80 DOUBLE PRECISION NOT NULL, 
    upper_95 DOUBLE PRECISION NOT NULL, 
    method TEXT NOT NULL, 
    reason TEXT, 
    CONSTRAINT forecast_once PRIMARY KEY (run_id, series_id, step), 
    CONSTRAINT forecast_step CHECK (step >= 1), 
    CONSTRAINT forecast_mean_finite CHECK (mean between -1.7976931348623157e308 and 1.7976931348623157e308), 
    CONSTRAINT forecast_lower_95_finite CHECK (lower_95 between -1.7976931348623157e308 and 1.7976931348623157e308), 
    CONSTRAINT forecast_lower_80_finite CHECK (lower_80 between -1.7976931348623157e308 and 1.7976931348623157e308), 
    CONSTRAINT forecast_median_finite CHECK (median between -1.7976931348623157e308 and 1.7976931348623157e308), 
    CONSTRAINT forecast_upper_80_finite CHECK (upper_80 between -1.7976931348623157e308 and 1.7976931348623157e308), 
    CONSTRAINT forecast_upper_95_finite CHECK (upper_95 between -1.7976931348623157e308 and 1.7976931348623157e308), 
    CONSTRAINT forecast_quantiles_ascend CHECK (lower_95 <= lower_80 and lower_80 <= median and median <= upper_80 and upper_80 <= upper_95), 
    FOREIGN KEY(run_id) REFERENCES runs (run_id), 
    FOREIGN KEY(series_id) REFERENCES series (series_id)
);

CREATE INDEX forecasts_of_period ON forecasts (series_id, period);

CREATE TABLE scores (
    run_id TEXT NOT NULL, 
    series_id BIGINT NOT NULL, 
    step INTEGER NOT NULL, 
    as_of TIMESTAMP WITH TIME ZONE NOT NULL, 
    observed DOUBLE PRECISION NOT NULL, 
    error DOUBLE PRECISION NOT NULL, 
    naive_error DOUBLE PRECISION, 
    scale DOUBLE PRECISION, 
    inside_80 INTEGER NOT NULL, 
    inside_95 INTEGER NOT NULL, 
    CONSTRAINT score_once PRIMARY KEY (run_id, series_id, step, as_of), 
    CONSTRAINT score_of_forecast FOREIGN KEY(run_id, series_id, step) REFERENCES forecasts (run_id, series_id, step)
);

CREATE TABLE attempts (
    attempt_id BIGSERIAL NOT NULL, 
    recipe TEXT NOT NULL, 
    command TEXT NOT NULL, 
    started_at TIMESTAMP WITH TIME ZONE NOT NULL, 
    finished_at TIMESTAMP WITH TIME ZONE, 
    status TEXT NOT NULL, 
    error TEXT, 
    PRIMARY KEY (attempt_id)
);

CREATE INDEX attempts_of_recipe ON attempts (recipe, started_at);

CREATE TABLE outbox (
    outbox_id BIGSERIAL NOT NULL, 
    recipe TEXT NOT NULL, 
    kind TEXT NOT NULL, 
    reference TEXT NOT NULL, 
    tries INTEGER DEFAULT '0' NOT NULL, 
    last_error TEXT, 
    created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
    done_at TIMESTAMP WITH TIME ZONE, 
    PRIMARY KEY (outbox_id), 
    CONSTRAINT outbox_once UNIQUE (recipe, kind, reference)
);

create function guard_run() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    if new.status <> 'staged' then raise exception 'a run is staged, once, before it is published'; end if;
    return new;
  end if;
  if tg_op = 'DELETE' then
    if old.status <> 'staged' then raise exception 'a published run is never deleted'; end if;
    return old;
  end if;
  if old.status = 'staged' and new.status <> 'staged' and (new.status <> 'published'
     or (select count(*) from forecasts where run_id = new.run_id) <> new.num_rows) then
    raise exception 'a run goes out with the number of rows that it declares';
  end if;
  if old.status <> 'staged' and (old.status <> 'published' or new.status <> 'superseded'
     or new.superseded_by is null or new.superseded_by = new.run_id
     or new.run_id is distinct from old.run_id or new.recipe is distinct from old.recipe or new.kind is distinct from old.kind or new.origin is distinct from old.origin or new.as_of is distinct from old.as_of or new.data_hash is distinct from old.data_hash or new.recipe_fingerprint is distinct from old.recipe_fingerprint or new.model_version is distinct from old.model_version or new.model_hash is distinct from old.model_hash or new.code_version is distinct from old.code_version or new.num_series is distinct from old.num_series or new.num_fallback is distinct from old.num_fallback or new.num_rows is distinct from old.num_rows or new.content_hash is distinct from old.content_hash or new.expected_next_by is distinct from old.expected_next_by or new.published_at is distinct from old.published_at) then
    raise exception 'a published run is never changed, only superseded';
  end if;
  return new;
end $$;

create trigger guard_run before insert or update or delete on runs
for each row execute function guard_run();

create function guard_forecast() returns trigger language plpgsql as $$
begin
  if exists (select 1 from runs where run_id in (new.run_id, old.run_id) and status <> 'staged') then
    raise exception 'the forecasts of a published run are never changed';
  end if;
  return coalesce(new, old);
end $$;

create trigger guard_forecast before insert or update or delete on forecasts
for each row execute function guard_forecast();

create function guard_history() returns trigger language plpgsql as $$
begin
  raise exception using message = tg_table_name || ' are appended, never changed';
end $$;

create trigger guard_observation before update or delete on observations
for each row execute function guard_history();

create trigger guard_all_observations before truncate on observations
for each statement execute function guard_history();

create trigger guard_all_runs before truncate on runs
for each statement execute function guard_history();

create trigger guard_all_forecasts before truncate on forecasts
for each statement execute function guard_history();

INSERT INTO schema_version (version_num) VALUES ('0001') RETURNING schema_version.version_num;

-- The newest published forecast of each series and period: one run a recipe, never two mixed.
create view latest_forecasts as
select
    runs.recipe,
    series.series,
    forecasts.period,
    forecasts.step,
    forecasts.mean,
    forecasts.lower_95,
    forecasts.lower_80,
    forecasts.median,
    forecasts.upper_80,
    forecasts.upper_95,
    forecasts.method,
    forecasts.reason,
    runs.model_version,
    runs.origin,
    runs.as_of,
    runs.published_at,
    runs.run_id
from runs
join forecasts on forecasts.run_id = runs.run_id
join series on series.series_id = forecasts.series_id
where runs.kind = 'live'
  and runs.status = 'published'
  and runs.origin = (
      select max(newest.origin)
      from runs as newest
      where newest.recipe = runs.recipe and newest.kind = 'live' and newest.status = 'published'
  );

-- Every forecast ever published, superseded ones and backfills included.
create view forecast_history as
select
    runs.recipe,
    series.series,
    forecasts.period,
    forecasts.step,
    forecasts.mean,
    forecasts.lower_95,
    forecasts.lower_80,
    forecasts.median,
    forecasts.upper_80,
    forecasts.upper_95,
    forecasts.method,
    forecasts.reason,
    runs.model_version,
    runs.origin,
    runs.as_of,
    runs.published_at,
    runs.run_id,
    runs.kind
from runs
join forecasts on forecasts.run_id = runs.run_id
join series on series.series_id = forecasts.series_id
where runs.status in ('published', 'superseded');

-- The newest value of each series and period.
create view current_observations as
select
    series.recipe,
    series.series,
    observations.period,
    observations.value,
    observations.recorded_at
from observations
join series on series.series_id = observations.series_id
where observations.recorded_at = (
    select max(newest.recorded_at)
    from observations as newest
    where newest.series_id = observations.series_id and newest.period = observations.period
);

-- How good the published forecasts turned out to be, by recipe, model version, series and step.
create view forecast_accuracy as
select
    runs.recipe,
    runs.model_version,
    series.series,
    scores.step,
    count(*) as num_scored,
    avg(abs(scores.error)) as mae,
    avg(abs(scores.error) / nullif(scores.scale, 0)) as mase,
    avg(case when abs(scores.observed) + abs(scores.observed + scores.error) = 0 then 0
        else 200 * abs(scores.error) / (abs(scores.observed) + abs(scores.observed + scores.error)) end) as smape,
    avg(scores.error) as bias,
    avg(cast(scores.inside_80 as double precision)) as coverage_80,
    avg(cast(scores.inside_95 as double precision)) as coverage_95,
    1 - avg(case when scores.naive_error is not null then abs(scores.error) end)
        / nullif(avg(abs(scores.naive_error)), 0) as skill
from scores
join runs on runs.run_id = scores.run_id
join series on series.series_id = scores.series_id
where runs.kind = 'live'
  and scores.as_of = (
      select max(newest.as_of)
      from scores as newest
      where newest.run_id = scores.run_id and newest.series_id = scores.series_id and newest.step = scores.step
  )
group by runs.recipe, runs.model_version, series.series, scores.step;

-- Observations outside the 95 % interval that was published for them from the last origin before.
create view anomalies as
select
    runs.recipe,
    series.series,
    forecasts.period,
    observed.value,
    forecasts.lower_95,
    forecasts.upper_95,
    runs.run_id
from forecasts
join runs on runs.run_id = forecasts.run_id and runs.kind = 'live' and runs.status = 'published'
join series on series.series_id = forecasts.series_id
join current_observations as observed
  on observed.recipe = series.recipe and observed.series = series.series and observed.period = forecasts.period
where (observed.value < forecasts.lower_95 or observed.value > forecasts.upper_95)
  and runs.origin = (
      select max(nearest.origin)
      from runs as nearest
      join forecasts as steps on steps.run_id = nearest.run_id
      where nearest.recipe = runs.recipe and nearest.kind = 'live' and nearest.status = 'published'
        and steps.series_id = forecasts.series_id and steps.period = forecasts.period
  );

-- One row a recipe: what is published, whether it is stale, and how the last attempt went.
create view recipe_status as
select
    recipes.recipe,
    latest.origin as latest_origin,
    latest.published_at,
    latest.expected_next_by,
    coalesce(now() > latest.expected_next_by, true) as is_stale,
    latest.num_series,
    latest.num_fallback,
    latest.model_version,
    cast(extract(epoch from now() - models.trained_at) / 86400 as double precision) as model_age_days,
    attempts.started_at as last_attempt_at,
    attempts.status as last_attempt_status,
    attempts.error as last_error
from recipes
left join runs as latest
  on latest.recipe = recipes.recipe and latest.kind = 'live' and latest.status = 'published'
 and latest.origin = (
     select max(newest.origin)
     from runs as newest
     where newest.recipe = recipes.recipe and newest.kind = 'live' and newest.status = 'published'
 )
left join models on models.recipe = latest.recipe and models.model_version = latest.model_version
left join attempts
  on attempts.attempt_id = (select max(newest.attempt_id) from attempts as newest where newest.recipe = recipes.recipe);

-- Rows that were refused, with the place and the rule.
create view rejected_observations as
select
    batches.recipe,
    batches.source,
    rejections.line,
    rejections.column_name,
    rejections.series,
    rejections.text,
    rejections.rule,
    batches.recorded_at as rejected_at
from rejections
join batches on batches.batch_id = rejections.batch_id;
