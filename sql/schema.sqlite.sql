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
)
 STRICT;

CREATE TABLE series (
    series_id INTEGER NOT NULL, 
    recipe TEXT NOT NULL, 
    series TEXT NOT NULL, 
    PRIMARY KEY (series_id), 
    CONSTRAINT series_name_once UNIQUE (recipe, series), 
    FOREIGN KEY(recipe) REFERENCES recipes (recipe)
)
 STRICT;

CREATE TABLE batches (
    batch_id INTEGER NOT NULL, 
    recipe TEXT NOT NULL, 
    source TEXT NOT NULL, 
    content_hash TEXT NOT NULL, 
    recorded_at TEXT NOT NULL, 
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
)
 STRICT;

CREATE INDEX batches_of_recipe ON batches (recipe, recorded_at);

CREATE TABLE observations (
    series_id INTEGER NOT NULL, 
    period TEXT NOT NULL, 
    recorded_at TEXT NOT NULL, 
    value REAL NOT NULL, 
    batch_id INTEGER NOT NULL, 
    CONSTRAINT observation_once PRIMARY KEY (series_id, period, recorded_at), 
    CONSTRAINT observation_finite CHECK (value between -1.7976931348623157e308 and 1.7976931348623157e308), 
    FOREIGN KEY(series_id) REFERENCES series (series_id), 
    FOREIGN KEY(batch_id) REFERENCES batches (batch_id)
)
 WITHOUT ROWID,
 STRICT;

CREATE TABLE rejections (
    rejection_id INTEGER NOT NULL, 
    batch_id INTEGER NOT NULL, 
    line INTEGER, 
    column_name TEXT, 
    series TEXT, 
    text TEXT, 
    rule TEXT NOT NULL, 
    PRIMARY KEY (rejection_id), 
    FOREIGN KEY(batch_id) REFERENCES batches (batch_id)
)
 STRICT;

CREATE TABLE models (
    recipe TEXT NOT NULL, 
    model_version INTEGER NOT NULL, 
    model_hash TEXT NOT NULL, 
    training TEXT NOT NULL, 
    reason TEXT NOT NULL, 
    cutoff TEXT NOT NULL, 
    as_of TEXT NOT NULL, 
    data_hash TEXT NOT NULL, 
    recipe_fingerprint TEXT NOT NULL, 
    training_fingerprint TEXT NOT NULL, 
    code_version TEXT NOT NULL, 
    record TEXT NOT NULL, 
    skill REAL, 
    trained_at TEXT NOT NULL, 
    mlflow_run_id TEXT, 
    CONSTRAINT model_version_once PRIMARY KEY (recipe, model_version), 
    CONSTRAINT model_hash_once UNIQUE (recipe, model_hash), 
    FOREIGN KEY(recipe) REFERENCES recipes (recipe)
)
 STRICT;

CREATE TABLE model_files (
    recipe TEXT NOT NULL, 
    model_version INTEGER NOT NULL, 
    name TEXT NOT NULL, 
    content BLOB NOT NULL, 
    CONSTRAINT model_file_once PRIMARY KEY (recipe, model_version, name), 
    CONSTRAINT file_of_model FOREIGN KEY(recipe, model_version) REFERENCES models (recipe, model_version)
)
 STRICT;

CREATE TABLE runs (
    run_id TEXT NOT NULL, 
    recipe TEXT NOT NULL, 
    kind TEXT NOT NULL, 
    origin TEXT NOT NULL, 
    as_of TEXT NOT NULL, 
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
    expected_next_by TEXT NOT NULL, 
    published_at TEXT, 
    superseded_by TEXT, 
    PRIMARY KEY (run_id), 
    CONSTRAINT run_by_model FOREIGN KEY(recipe, model_version) REFERENCES models (recipe, model_version), 
    CONSTRAINT run_kind CHECK (kind in ('live', 'backfill')), 
    CONSTRAINT run_status CHECK (status in ('staged', 'published', 'superseded')), 
    CONSTRAINT run_published_at CHECK (status = 'staged' or published_at is not null), 
    FOREIGN KEY(recipe) REFERENCES recipes (recipe), 
    FOREIGN KEY(superseded_by) REFERENCES runs (run_id)
)
 STRICT;

CREATE UNIQUE INDEX one_published_run ON runs (recipe, kind, origin) WHERE status = 'published';

CREATE TABLE forecasts (
    run_id TEXT NOT NULL, 
    series_id INTEGER NOT NULL, 
    step INTEGER NOT NULL, 
    period TEXT NOT NULL, 
    mean REAL NOT NULL, 
    lower_95 REAL NOT NULL, 
    lower_80 REAL NOT NULL, 
    median REAL NOT NULL, 
    upper_80 REAL NOT NULL, 
    upper_95 REAL NOT NULL, 
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
)
 WITHOUT ROWID,
 STRICT;

CREATE INDEX forecasts_of_period ON forecasts (series_id, period);

CREATE TABLE scores (
    run_id TEXT NOT NULL, 
    series_id INTEGER NOT NULL, 
    step INTEGER NOT NULL, 
    as_of TEXT NOT NULL, 
    observed REAL NOT NULL, 
    error REAL NOT NULL, 
    naive_error REAL, 
    scale REAL, 
    inside_80 INTEGER NOT NULL, 
    inside_95 INTEGER NOT NULL, 
    CONSTRAINT score_once PRIMARY KEY (run_id, series_id, step, as_of), 
    CONSTRAINT score_of_forecast FOREIGN KEY(run_id, series_id, step) REFERENCES forecasts (run_id, series_id, step)
)
 STRICT;

CREATE TABLE attempts (
    attempt_id INTEGER NOT NULL, 
    recipe TEXT NOT NULL, 
    command TEXT NOT NULL, 
    started_at TEXT NOT NULL, 
    finished_at TEXT, 
    status TEXT NOT NULL, 
    error TEXT, 
    PRIMARY KEY (attempt_id)
)
 STRICT;

CREATE INDEX attempts_of_recipe ON attempts (recipe, started_at);

CREATE TABLE outbox (
    outbox_id INTEGER NOT NULL, 
    recipe TEXT NOT NULL, 
    kind TEXT NOT NULL, 
    reference TEXT NOT NULL, 
    tries INTEGER DEFAULT '0' NOT NULL, 
    last_error TEXT, 
    created_at TEXT NOT NULL, 
    done_at TEXT, 
    PRIMARY KEY (outbox_id), 
    CONSTRAINT outbox_once UNIQUE (recipe, kind, reference)
)
 STRICT;

create trigger run_is_staged_first before insert on runs
when new.status <> 'staged' or exists (select 1 from runs where run_id = new.run_id)
begin select raise(abort, 'a run is staged, once, before it is published'); end;

create trigger run_goes_out_whole before update on runs
when old.status = 'staged' and new.status <> 'staged' and (new.status <> 'published'
  or (select count(*) from forecasts where run_id = new.run_id) <> new.num_rows)
begin select raise(abort, 'a run goes out with the number of rows that it declares'); end;

create trigger published_run_stays before update on runs
when old.status <> 'staged' and (old.status <> 'published' or new.status <> 'superseded'
  or new.superseded_by is null or new.superseded_by = new.run_id
  or new.run_id is not old.run_id or new.recipe is not old.recipe or new.kind is not old.kind or new.origin is not old.origin or new.as_of is not old.as_of or new.data_hash is not old.data_hash or new.recipe_fingerprint is not old.recipe_fingerprint or new.model_version is not old.model_version or new.model_hash is not old.model_hash or new.code_version is not old.code_version or new.num_series is not old.num_series or new.num_fallback is not old.num_fallback or new.num_rows is not old.num_rows or new.content_hash is not old.content_hash or new.expected_next_by is not old.expected_next_by or new.published_at is not old.published_at)
begin select raise(abort, 'a published run is never changed, only superseded'); end;

create trigger published_run_is_kept before delete on runs when old.status <> 'staged'
begin select raise(abort, 'a published run is never deleted'); end;

create trigger published_forecasts_stay_on_insert before insert on forecasts
when exists (select 1 from runs where run_id in (new.run_id) and status <> 'staged')
begin select raise(abort, 'the forecasts of a published run are never changed'); end;

create trigger published_forecasts_stay_on_update before update on forecasts
when exists (select 1 from runs where run_id in (old.run_id, new.run_id) and status <> 'staged')
begin select raise(abort, 'the forecasts of a published run are never changed'); end;

create trigger published_forecasts_stay_on_delete before delete on forecasts
when exists (select 1 from runs where run_id in (old.run_id) and status <> 'staged')
begin select raise(abort, 'the forecasts of a published run are never changed'); end;

create trigger observations_are_not_replaced before insert on observations
when exists (
  select 1 from observations
  where series_id = new.series_id and period = new.period and recorded_at = new.recorded_at)
begin select raise(abort, 'observations are appended, never changed'); end;

create trigger observations_stay_on_update before update on observations
begin select raise(abort, 'observations are appended, never changed'); end;

create trigger observations_stay_on_delete before delete on observations
begin select raise(abort, 'observations are appended, never changed'); end;

INSERT INTO schema_version (version_num) VALUES ('0001') RETURNING version_num;

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
    case when latest.expected_next_by is null then 1 else strftime('%Y-%m-%d %H:%M:%f', 'now') > substr(latest.expected_next_by, 1, 23) end as is_stale,
    latest.num_series,
    latest.num_fallback,
    latest.model_version,
    julianday('now') - julianday(models.trained_at) as model_age_days,
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
