CREATE TABLE schema_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT schema_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE "registered_recipes" (
    recipe TEXT NOT NULL,
    definition TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    epoch INTEGER DEFAULT '0' NOT NULL,
    champion_version INTEGER, season_length integer, zone text not null default 'UTC', period_zone text not null default 'UTC',
    PRIMARY KEY (recipe)
) STRICT;

CREATE TABLE rejections (
    rejection_id INTEGER NOT NULL,
    batch_id INTEGER NOT NULL,
    line INTEGER,
    column_name TEXT,
    series TEXT,
    text TEXT,
    rule TEXT NOT NULL, file text, period text,
    PRIMARY KEY (rejection_id),
    FOREIGN KEY(batch_id) REFERENCES batches (batch_id)
) STRICT;

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
    FOREIGN KEY(recipe) REFERENCES "registered_recipes" (recipe)
) STRICT;

CREATE TABLE model_files (
    recipe TEXT NOT NULL,
    model_version INTEGER NOT NULL,
    name TEXT NOT NULL,
    content BLOB NOT NULL,
    CONSTRAINT model_file_once PRIMARY KEY (recipe, model_version, name),
    CONSTRAINT file_of_model FOREIGN KEY(recipe, model_version) REFERENCES models (recipe, model_version)
) STRICT;

CREATE TABLE "command_attempts" (
    attempt_id INTEGER NOT NULL,
    recipe TEXT NOT NULL,
    command TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    status TEXT NOT NULL,
    error TEXT,
    PRIMARY KEY (attempt_id)
) STRICT;

CREATE INDEX attempts_of_recipe ON "command_attempts" (recipe, started_at);

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
) STRICT;

CREATE TABLE "series_variables" (
    series_id integer primary key autoincrement,
    recipe text not null references "registered_recipes" (recipe),
    series text not null,
    variable text not null default '',
    constraint series_name_once unique (recipe, series, variable)
) strict;

CREATE TABLE "batches" (
    batch_id integer primary key autoincrement,
    recipe text not null references "registered_recipes" (recipe),
    source text not null,
    content_hash text not null,
    recorded_at text not null,
    status text not null constraint batch_status check (status in ('accepted', 'refused', 'held', 'released')),
    message text,
    num_read integer not null,
    num_new integer not null,
    num_revised integer not null,
    num_same integer not null,
    num_rejected integer not null,
    state text not null default '{}',
    releases integer references batches (batch_id)
, first_period text, last_period text, known_at text, preview text, expectation text, decision text, decided_at text) strict;

CREATE INDEX batches_of_recipe on batches (recipe, recorded_at);

CREATE INDEX rejections_of_batch on rejections (batch_id);

CREATE TABLE observations (
    series_id integer not null references "series_variables" (series_id),
    period text not null,
    value real not null constraint observation_finite check (value between -1.7976931348623157e308 and 1.7976931348623157e308),
    batch_id integer not null references batches (batch_id),
    constraint observation_first primary key (series_id, period)
) strict, without rowid;

CREATE TABLE attributes (
    series_id integer not null references "series_variables" (series_id),
    name text not null,
    batch_id integer not null references batches (batch_id),
    value text not null,
    constraint attribute_once primary key (series_id, name, batch_id)
) strict, without rowid;

CREATE TABLE held_rows (
    batch_id integer not null references batches (batch_id),
    part integer not null,
    content blob not null,
    constraint held_part_once primary key (batch_id, part)
) strict;

CREATE TABLE leases (
    recipe text primary key references "registered_recipes" (recipe),
    epoch integer not null,
    holder text not null,
    expires_at text not null
) strict;

CREATE TABLE run_steps (
    run_number integer not null references runs (run_number),
    step integer not null constraint run_step check (step >= 1),
    period text not null,
    constraint run_step_once primary key (run_number, step)
) strict, without rowid;

CREATE TABLE run_series (
    run_number integer not null references runs (run_number),
    series_id integer not null references "series_variables" (series_id),
    method text not null,
    reason text, scale real constraint run_series_scale check (scale >= 0), network_steps integer not null default 0, volatility_group integer, interval_factor real constraint run_series_interval_factor check (interval_factor >= 0), has_baseline_width integer not null default 0,
    constraint run_series_once primary key (run_number, series_id)
) strict, without rowid;

CREATE TABLE scores (
    run_number integer not null,
    series_id integer not null,
    step integer not null,
    as_of text not null,
    observed real not null,
    error real not null,
    naive_error real,
    scale real,
    inside_80 integer not null,
    inside_95 integer not null, median_error real,
    constraint score_number_once primary key (run_number, series_id, step, as_of),
    constraint score_of_number foreign key (run_number, series_id, step)
        references forecasts (run_number, series_id, step)
) strict, without rowid;

CREATE TABLE "forecasts" (
    run_number integer not null,
    series_id integer not null,
    step integer not null,
    mean real not null,
    lower_95 real not null,
    lower_80 real not null,
    median real not null,
    upper_80 real not null,
    upper_95 real not null, baseline real constraint forecast_baseline_finite check (baseline between -1.7976931348623157e308 and 1.7976931348623157e308),
    constraint forecast_number_once primary key (run_number, series_id, step),
    constraint forecast_step check (step >= 1),
    constraint forecast_mean_finite check (mean between -1.7976931348623157e308 and 1.7976931348623157e308),
    constraint forecast_quantiles_ascend check (
        -1.7976931348623157e308 <= lower_95 and lower_95 <= lower_80 and lower_80 <= median
        and median <= upper_80 and upper_80 <= upper_95 and upper_95 <= 1.7976931348623157e308
    )
) strict, without rowid;

CREATE TABLE scored (
    recipe text not null references "registered_recipes" (recipe),
    kind text not null constraint scored_kind check (kind in ('live', 'backfill')),
    batch_id integer not null,
    constraint scored_once primary key (recipe, kind)
) strict;

CREATE TABLE recipe_versions (
    recipe text not null references "registered_recipes" (recipe),
    fingerprint text not null,
    definition text not null,
    constraint recipe_version_once primary key (recipe, fingerprint)
) strict;

CREATE TABLE "model_decisions" (
    decision_id integer primary key autoincrement,
    recipe text not null references "registered_recipes" (recipe),
    what text not null constraint decision_what check (what in ('training', 'promotion')),
    kind text not null constraint decision_kind check (kind in ('live', 'backfill')),
    outcome text not null,
    reason text not null,
    model_version integer,
    as_of text not null,
    decided_at text not null,
    facts text not null default '{}',
    constraint decision_about foreign key (recipe, model_version) references models (recipe, model_version)
) strict;

CREATE INDEX decisions_of_recipe on "model_decisions" (recipe, what, as_of);

CREATE TABLE sample_paths (
    run_number integer not null references runs (run_number),
    series_id integer not null references "series_variables" (series_id),
    path integer not null constraint sample_path check (path >= 1),
    step integer not null constraint sample_step check (step >= 1),
    value real not null constraint sample_finite check (value between -1.7976931348623157e308 and 1.7976931348623157e308),
    constraint sample_once primary key (run_number, series_id, path, step)
) strict, without rowid;

CREATE TABLE older_versions (
    series_id integer not null references "series_variables" (series_id),
    period text not null,
    batch_id integer not null references batches (batch_id),
    value real constraint older_version_finite check (value between -1.7976931348623157e308 and 1.7976931348623157e308),
    constraint older_version_once primary key (series_id, period, batch_id)
) strict, without rowid;

CREATE TABLE "revisions" (
    series_id integer not null,
    period text not null,
    batch_id integer not null references batches (batch_id),
    value real constraint revision_finite check (value between -1.7976931348623157e308 and 1.7976931348623157e308),
    constraint revision_once primary key (series_id, period, batch_id),
    constraint revision_of_observation foreign key (series_id, period) references observations (series_id, period)
) strict, without rowid;

CREATE INDEX withdrawn_values on revisions (series_id) where value is null;

CREATE TABLE "runs" (
    run_number integer primary key autoincrement,
    run_id text not null unique,
    recipe text not null references "registered_recipes" (recipe),
    kind text not null constraint run_kind check (kind in ('live', 'backfill')),
    origin text not null,
    as_of text not null,
    status text not null constraint run_status check (status in ('staged', 'published', 'superseded')),
    data_hash text not null,
    recipe_fingerprint text not null,
    model_version integer,
    model_hash text,
    code_version text not null,
    num_series integer not null,
    num_fallback integer not null,
    num_rows integer not null,
    content_hash text not null,
    expected_next_by text not null,
    published_at text,
    superseded_by text references runs (run_id), calibration text, recorded_by text,
    constraint run_by_model foreign key (recipe, model_version) references models (recipe, model_version),
    constraint run_published_at check (status = 'staged' or published_at is not null)
) strict;

CREATE UNIQUE INDEX one_published_run on runs (recipe, kind, origin) where status = 'published';

CREATE TRIGGER observations_stay_on_update before update on observations
begin select raise(abort, 'observations are appended, never changed'); end;

CREATE TRIGGER observations_stay_on_delete before delete on observations
begin select raise(abort, 'observations are appended, never changed'); end;

CREATE TRIGGER attributes_stay_on_update before update on attributes
begin select raise(abort, 'attributes are appended, never changed'); end;

CREATE TRIGGER attributes_stay_on_delete before delete on attributes
begin select raise(abort, 'attributes are appended, never changed'); end;

CREATE TRIGGER run_is_staged_first before insert on runs
when new.status <> 'staged' or exists (select 1 from runs where run_id = new.run_id or run_number = new.run_number)
begin select raise(abort, 'a run is staged, once, before it is published'); end;

CREATE TRIGGER published_run_is_kept before delete on runs when old.status <> 'staged'
begin select raise(abort, 'a published run is never deleted'); end;

CREATE TRIGGER published_run_steps_stay_on_insert before insert on run_steps
when exists (select 1 from runs where run_number in (new.run_number) and status <> 'staged')
begin select raise(abort, 'the forecasts of a published run are never changed'); end;

CREATE TRIGGER published_run_steps_stay_on_update before update on run_steps
when exists (select 1 from runs where run_number in (old.run_number, new.run_number) and status <> 'staged')
begin select raise(abort, 'the forecasts of a published run are never changed'); end;

CREATE TRIGGER published_run_steps_stay_on_delete before delete on run_steps
when exists (select 1 from runs where run_number in (old.run_number) and status <> 'staged')
begin select raise(abort, 'the forecasts of a published run are never changed'); end;

CREATE TRIGGER published_run_series_stay_on_insert before insert on run_series
when exists (select 1 from runs where run_number in (new.run_number) and status <> 'staged')
begin select raise(abort, 'the forecasts of a published run are never changed'); end;

CREATE TRIGGER published_run_series_stay_on_update before update on run_series
when exists (select 1 from runs where run_number in (old.run_number, new.run_number) and status <> 'staged')
begin select raise(abort, 'the forecasts of a published run are never changed'); end;

CREATE TRIGGER published_run_series_stay_on_delete before delete on run_series
when exists (select 1 from runs where run_number in (old.run_number) and status <> 'staged')
begin select raise(abort, 'the forecasts of a published run are never changed'); end;

CREATE TRIGGER published_forecasts_stay_on_insert before insert on forecasts
when (select status from runs where run_number = new.run_number) is not 'staged'
begin select raise(abort, 'the forecasts of a published run are never changed, and those of no run never written'); end;

CREATE TRIGGER published_forecasts_stay_on_update before update on forecasts
when exists (select 1 from runs where run_number in (old.run_number, new.run_number) and status <> 'staged')
begin select raise(abort, 'the forecasts of a published run are never changed'); end;

CREATE TRIGGER published_forecasts_stay_on_delete before delete on forecasts
when exists (select 1 from runs where run_number in (old.run_number) and status <> 'staged')
begin select raise(abort, 'the forecasts of a published run are never changed'); end;

CREATE TRIGGER staged_run_is_deleted_last before delete on runs
when old.status = 'staged' and exists (select 1 from forecasts where run_number = old.run_number)
begin select raise(abort, 'a staged run is deleted after its forecasts'); end;

CREATE TRIGGER run_goes_out_whole before update on runs
when old.status = 'staged' and new.status <> 'staged' and (new.status <> 'published' or
(select count(*) from forecasts where run_number = new.run_number) <> new.num_rows
  or (select count(*) from run_series where run_number = new.run_number) <> new.num_series
  or (select count(*) from run_steps where run_number = new.run_number) * new.num_series <> new.num_rows
  or (select max(step) from run_steps where run_number = new.run_number) * new.num_series <> new.num_rows
  or exists (
      select 1
      from (
          select series_id, count(*) as found, max(step) as last
          from forecasts where run_number = new.run_number
          group by series_id
      ) as told
      where told.found * new.num_series <> new.num_rows or told.last * new.num_series <> new.num_rows)
  or exists (
      select 1 from (select distinct series_id from forecasts where run_number = new.run_number) as told
      where not exists (
          select 1 from run_series where run_number = new.run_number and series_id = told.series_id)))
begin select raise(abort, 'a run goes out with the number of rows that it declares'); end;

CREATE TRIGGER recipe_versions_stay_on_update before update on recipe_versions
begin select raise(abort, 'recipe_versions are appended, never changed'); end;

CREATE TRIGGER recipe_versions_stay_on_delete before delete on recipe_versions
begin select raise(abort, 'recipe_versions are appended, never changed'); end;

CREATE TRIGGER sample_paths_stay_on_update before update on sample_paths
begin select raise(abort, 'sample_paths are appended, never changed'); end;

CREATE TRIGGER sample_paths_stay_on_delete before delete on sample_paths
begin select raise(abort, 'sample_paths are appended, never changed'); end;

CREATE TRIGGER revisions_stay_on_update before update on revisions
begin select raise(abort, 'revisions are appended, never changed'); end;

CREATE TRIGGER revisions_stay_on_delete before delete on revisions
begin select raise(abort, 'revisions are appended, never changed'); end;

CREATE TRIGGER older_versions_stay_on_update before update on older_versions
begin select raise(abort, 'older_versions are appended, never changed'); end;

CREATE TRIGGER older_versions_stay_on_delete before delete on older_versions
begin select raise(abort, 'older_versions are appended, never changed'); end;

CREATE TRIGGER published_run_stays before update on runs
when old.status <> 'staged' and (old.status <> 'published' or new.status <> 'superseded'
  or new.superseded_by is null or new.superseded_by = new.run_id
  or new.run_number is not old.run_number or new.run_id is not old.run_id or new.recipe is not old.recipe or new.kind is not old.kind or new.origin is not old.origin or new.as_of is not old.as_of or new.data_hash is not old.data_hash or new.recipe_fingerprint is not old.recipe_fingerprint or new.model_version is not old.model_version or new.model_hash is not old.model_hash or new.code_version is not old.code_version or new.num_series is not old.num_series or new.num_fallback is not old.num_fallback or new.num_rows is not old.num_rows or new.content_hash is not old.content_hash or new.expected_next_by is not old.expected_next_by or new.published_at is not old.published_at or new.calibration is not old.calibration or new.recorded_by is not old.recorded_by)
begin select raise(abort, 'a published run is never changed, only superseded'); end;

CREATE TABLE alerts (
    alert_id integer primary key autoincrement,
    recipe text not null references "registered_recipes" (recipe),
    kind text not null,
    state text not null constraint alert_state check (state in ('raised', 'recovered')),
    reason text not null,
    sent_at text not null
) strict;

CREATE INDEX alerts_of_recipe on alerts (recipe, kind, alert_id);

CREATE TRIGGER alerts_stay_on_update before update on alerts
begin select raise(abort, 'alerts are appended, never changed'); end;

CREATE TRIGGER alerts_stay_on_delete before delete on alerts
begin select raise(abort, 'alerts are appended, never changed'); end;

CREATE TRIGGER model_decisions_stay_on_update before update on model_decisions
begin select raise(abort, 'model_decisions are appended, never changed'); end;

CREATE TRIGGER model_decisions_stay_on_delete before delete on model_decisions
begin select raise(abort, 'model_decisions are appended, never changed'); end;

CREATE TABLE zone_offsets (
    zone text not null,
    starts_at text not null,
    local_starts_at text not null,
    seconds integer not null,
    constraint zone_offset_once primary key (zone, starts_at)
) strict, without rowid;

CREATE INDEX zone_offsets_of_local_times on zone_offsets (zone, local_starts_at);

CREATE INDEX rejections_of_series on rejections (series);

CREATE INDEX runs_of_recipe on runs (recipe, kind, origin);

CREATE TABLE backtest_errors (
    series_id integer not null references series_variables (series_id),
    recipe text not null,
    model_version integer not null,
    num_scored integer not null,
    mae real not null,
    rmse real not null,
    mase real,
    smape real not null,
    baseline text not null,
    baseline_mae real,
    baseline_mase real,
    constraint backtest_error_once primary key (series_id, model_version),
    constraint backtest_error_of_model foreign key (recipe, model_version) references models (recipe, model_version)
) strict, without rowid;

CREATE TABLE backtest_comparisons (
    recipe text not null,
    model_version integer not null,
    comparison text not null,
    constraint backtest_comparison_once primary key (recipe, model_version),
    constraint backtest_comparison_of_model foreign key (recipe, model_version) references models (recipe, model_version)
) strict;

CREATE VIEW latest_forecasts as
select
    runs.recipe,
    series.series,
    run_steps.period,
    forecasts.step,
    forecasts.mean,
    forecasts.lower_95,
    forecasts.lower_80,
    forecasts.median,
    forecasts.upper_80,
    forecasts.upper_95,
    case when forecasts.step <= run_series.network_steps then 'lstm' else run_series.method end as method,
    case when forecasts.step <= run_series.network_steps then null else run_series.reason end as reason,
    runs.model_version,
    runs.origin,
    runs.as_of,
    runs.published_at,
    runs.run_id,
    case when zones.period_zone = 'UTC' then run_steps.period || substr(' 00:00:00.000000', length(run_steps.period) - 9) || '+00:00'
    else strftime('%Y-%m-%d %H:%M:%S', run_steps.period, -(
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.period_zone and offsets.local_starts_at <= run_steps.period
        order by offsets.local_starts_at desc limit 1) || ' seconds') || '.000000+00:00' end as period_at,
    case when zones.zone = zones.period_zone then run_steps.period
    else rtrim(replace(strftime('%Y-%m-%d %H:%M:%S', run_steps.period, (
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.zone and offsets.starts_at <= run_steps.period
        order by offsets.starts_at desc limit 1) || ' seconds') || substr(run_steps.period, 20) || 'Z', ' 00:00:00Z', 'Z'), 'Z') end as period_local
from runs
cross join series_variables as series on series.recipe = runs.recipe and series.variable = ''
cross join run_series on run_series.run_number = runs.run_number and run_series.series_id = series.series_id
cross join forecasts
  on forecasts.run_number = run_series.run_number and forecasts.series_id = run_series.series_id
cross join run_steps on run_steps.run_number = forecasts.run_number and run_steps.step = forecasts.step
left join registered_recipes as zones on zones.recipe = runs.recipe
where runs.kind = 'live'
  and runs.status = 'published'
  and runs.origin = (
      select max(newest.origin)
      from runs as newest
      where newest.recipe = runs.recipe and newest.kind = 'live' and newest.status = 'published'
  );

CREATE VIEW forecast_history as
select
    runs.recipe,
    series.series,
    run_steps.period,
    forecasts.step,
    forecasts.mean,
    forecasts.lower_95,
    forecasts.lower_80,
    forecasts.median,
    forecasts.upper_80,
    forecasts.upper_95,
    case when forecasts.step <= run_series.network_steps then 'lstm' else run_series.method end as method,
    case when forecasts.step <= run_series.network_steps then null else run_series.reason end as reason,
    runs.model_version,
    runs.origin,
    runs.as_of,
    runs.published_at,
    runs.run_id,
    runs.kind,
    case when zones.period_zone = 'UTC' then run_steps.period || substr(' 00:00:00.000000', length(run_steps.period) - 9) || '+00:00'
    else strftime('%Y-%m-%d %H:%M:%S', run_steps.period, -(
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.period_zone and offsets.local_starts_at <= run_steps.period
        order by offsets.local_starts_at desc limit 1) || ' seconds') || '.000000+00:00' end as period_at,
    case when zones.zone = zones.period_zone then run_steps.period
    else rtrim(replace(strftime('%Y-%m-%d %H:%M:%S', run_steps.period, (
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.zone and offsets.starts_at <= run_steps.period
        order by offsets.starts_at desc limit 1) || ' seconds') || substr(run_steps.period, 20) || 'Z', ' 00:00:00Z', 'Z'), 'Z') end as period_local
from runs
cross join series_variables as series on series.recipe = runs.recipe and series.variable = ''
cross join run_series on run_series.run_number = runs.run_number and run_series.series_id = series.series_id
cross join forecasts
  on forecasts.run_number = run_series.run_number and forecasts.series_id = run_series.series_id
cross join run_steps on run_steps.run_number = forecasts.run_number and run_steps.step = forecasts.step
left join registered_recipes as zones on zones.recipe = runs.recipe
where runs.status in ('published', 'superseded');

CREATE VIEW current_observations as
select
    series.recipe,
    series.series,
    observations.period,
    case when revisions.batch_id is null then observations.value else revisions.value end as value,
    batches.recorded_at,
    case when zones.period_zone = 'UTC' then observations.period || substr(' 00:00:00.000000', length(observations.period) - 9) || '+00:00'
    else strftime('%Y-%m-%d %H:%M:%S', observations.period, -(
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.period_zone and offsets.local_starts_at <= observations.period
        order by offsets.local_starts_at desc limit 1) || ' seconds') || '.000000+00:00' end as period_at,
    case when zones.zone = zones.period_zone then observations.period
    else rtrim(replace(strftime('%Y-%m-%d %H:%M:%S', observations.period, (
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.zone and offsets.starts_at <= observations.period
        order by offsets.starts_at desc limit 1) || ' seconds') || substr(observations.period, 20) || 'Z', ' 00:00:00Z', 'Z'), 'Z') end as period_local
from series_variables as series
join observations on observations.series_id = series.series_id
left join revisions
  on revisions.series_id = observations.series_id
 and revisions.period = observations.period
 and revisions.batch_id = (
     select max(newest.batch_id)
     from revisions as newest
     where newest.series_id = observations.series_id and newest.period = observations.period
 )
join batches on batches.batch_id = coalesce(revisions.batch_id, observations.batch_id)
left join registered_recipes as zones on zones.recipe = series.recipe
where series.variable = ''
  and (revisions.batch_id is null or revisions.value is not null);

CREATE VIEW forecast_accuracy as
select
    runs.recipe,
    runs.model_version,
    series.series,
    scores.step,
    count(*) as num_scored,
    avg(abs(coalesce(scores.median_error, scores.error))) as mae,
    avg(abs(coalesce(scores.median_error, scores.error)) / nullif(scores.scale, 0)) as mase,
    avg(case when abs(scores.observed) + abs(scores.observed + coalesce(scores.median_error, scores.error)) = 0 then 0
        else 200 * abs(coalesce(scores.median_error, scores.error))
            / (abs(scores.observed) + abs(scores.observed + coalesce(scores.median_error, scores.error))) end) as smape,
    avg(scores.error) as bias,
    avg(cast(scores.inside_80 as double precision)) as coverage_80,
    avg(cast(scores.inside_95 as double precision)) as coverage_95,
    1 - avg(case when scores.naive_error is not null then abs(coalesce(scores.median_error, scores.error)) end)
        / nullif(avg(abs(scores.naive_error)), 0) as skill
from runs
cross join series_variables as series on series.recipe = runs.recipe and series.variable = ''
cross join scores on scores.run_number = runs.run_number and scores.series_id = series.series_id
where runs.kind = 'live'
  and scores.as_of = (
      select max(newest.as_of)
      from scores as newest
      where newest.run_number = scores.run_number and newest.series_id = scores.series_id and newest.step = scores.step
  )
group by runs.recipe, runs.model_version, series.series, scores.step;

CREATE VIEW anomalies as
select
    runs.recipe,
    series.series,
    run_steps.period,
    case when revisions.batch_id is null then observations.value else revisions.value end as value,
    forecasts.lower_95,
    forecasts.upper_95,
    runs.run_id,
    case when zones.period_zone = 'UTC' then run_steps.period || substr(' 00:00:00.000000', length(run_steps.period) - 9) || '+00:00'
    else strftime('%Y-%m-%d %H:%M:%S', run_steps.period, -(
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.period_zone and offsets.local_starts_at <= run_steps.period
        order by offsets.local_starts_at desc limit 1) || ' seconds') || '.000000+00:00' end as period_at,
    case when zones.zone = zones.period_zone then run_steps.period
    else rtrim(replace(strftime('%Y-%m-%d %H:%M:%S', run_steps.period, (
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.zone and offsets.starts_at <= run_steps.period
        order by offsets.starts_at desc limit 1) || ' seconds') || substr(run_steps.period, 20) || 'Z', ' 00:00:00Z', 'Z'), 'Z') end as period_local
from runs
cross join series_variables as series on series.recipe = runs.recipe and series.variable = ''
cross join forecasts on forecasts.run_number = runs.run_number and forecasts.series_id = series.series_id
cross join run_steps on run_steps.run_number = forecasts.run_number and run_steps.step = forecasts.step
cross join observations on observations.series_id = forecasts.series_id and observations.period = run_steps.period
left join revisions
  on revisions.series_id = observations.series_id
 and revisions.period = observations.period
 and revisions.batch_id = (
     select max(newest.batch_id)
     from revisions as newest
     where newest.series_id = observations.series_id and newest.period = observations.period
 )
left join registered_recipes as zones on zones.recipe = runs.recipe
where runs.kind = 'live'
  and runs.status = 'published'
  and case when revisions.batch_id is null then observations.value else revisions.value end
      not between forecasts.lower_95 and forecasts.upper_95
  and not exists (
      select 1
      from runs as nearer
      join run_steps as steps on steps.run_number = nearer.run_number and steps.period = run_steps.period
      join run_series as told on told.run_number = nearer.run_number and told.series_id = forecasts.series_id
      where nearer.recipe = runs.recipe and nearer.kind = 'live' and nearer.status = 'published'
        and nearer.origin > runs.origin
  );

CREATE VIEW recipe_status as
select
    registered_recipes.recipe,
    latest.origin as latest_origin,
    latest.published_at,
    latest.expected_next_by,
    case when latest.expected_next_by is null then 1 else strftime('%Y-%m-%d %H:%M:%f', 'now') > substr(latest.expected_next_by, 1, 23) end as is_stale,
    latest.num_series,
    latest.num_fallback,
    latest.model_version,
    julianday('now') - julianday(models.trained_at) as model_age_days,
    command_attempts.started_at as last_attempt_at,
    command_attempts.status as last_attempt_status,
    command_attempts.error as last_error
from registered_recipes
left join runs as latest
  on latest.recipe = registered_recipes.recipe and latest.kind = 'live' and latest.status = 'published'
 and latest.origin = (
     select max(newest.origin)
     from runs as newest
     where newest.recipe = registered_recipes.recipe and newest.kind = 'live' and newest.status = 'published'
 )
left join models on models.recipe = latest.recipe and models.model_version = latest.model_version
left join command_attempts
  on command_attempts.attempt_id = (select max(newest.attempt_id) from command_attempts as newest where newest.recipe = registered_recipes.recipe);

CREATE VIEW rejected_observations as
select
    batches.recipe,
    coalesce(rejections.file, batches.source) as source,
    rejections.line,
    rejections.column_name,
    rejections.series,
    rejections.text,
    rejections.rule,
    batches.recorded_at as rejected_at,
    rejections.period,
    case when zones.period_zone = 'UTC' then rejections.period || substr(' 00:00:00.000000', length(rejections.period) - 9) || '+00:00'
    else strftime('%Y-%m-%d %H:%M:%S', rejections.period, -(
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.period_zone and offsets.local_starts_at <= rejections.period
        order by offsets.local_starts_at desc limit 1) || ' seconds') || '.000000+00:00' end as period_at,
    case when zones.zone = zones.period_zone then rejections.period
    else rtrim(replace(strftime('%Y-%m-%d %H:%M:%S', rejections.period, (
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.zone and offsets.starts_at <= rejections.period
        order by offsets.starts_at desc limit 1) || ' seconds') || substr(rejections.period, 20) || 'Z', ' 00:00:00Z', 'Z'), 'Z') end as period_local
from rejections
join batches on batches.batch_id = rejections.batch_id
left join registered_recipes as zones on zones.recipe = batches.recipe;

CREATE VIEW latest_paths as
select
    runs.recipe,
    series.series,
    sample_paths.path,
    sample_paths.step,
    run_steps.period,
    sample_paths.value,
    runs.origin,
    runs.run_id,
    case when zones.period_zone = 'UTC' then run_steps.period || substr(' 00:00:00.000000', length(run_steps.period) - 9) || '+00:00'
    else strftime('%Y-%m-%d %H:%M:%S', run_steps.period, -(
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.period_zone and offsets.local_starts_at <= run_steps.period
        order by offsets.local_starts_at desc limit 1) || ' seconds') || '.000000+00:00' end as period_at,
    case when zones.zone = zones.period_zone then run_steps.period
    else rtrim(replace(strftime('%Y-%m-%d %H:%M:%S', run_steps.period, (
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.zone and offsets.starts_at <= run_steps.period
        order by offsets.starts_at desc limit 1) || ' seconds') || substr(run_steps.period, 20) || 'Z', ' 00:00:00Z', 'Z'), 'Z') end as period_local
from runs
cross join series_variables as series on series.recipe = runs.recipe and series.variable = ''
cross join sample_paths on sample_paths.run_number = runs.run_number and sample_paths.series_id = series.series_id
cross join run_steps on run_steps.run_number = sample_paths.run_number and run_steps.step = sample_paths.step
left join registered_recipes as zones on zones.recipe = runs.recipe
where runs.kind = 'live'
  and runs.status = 'published'
  and runs.origin = (
      select max(newest.origin)
      from runs as newest
      where newest.recipe = runs.recipe and newest.kind = 'live' and newest.status = 'published'
  );

CREATE VIEW inactive_series as
select
    ended.recipe,
    ended.series,
    ended.last_period,
    runs.origin,
    runs.run_id
from runs
join (
    select
        series.recipe,
        series.series,
        series.series_id,
        (select max(observations.period) from observations where observations.series_id = series.series_id) as last_period
    from series_variables as series
    where series.variable = ''
) as ended on ended.recipe = runs.recipe and ended.last_period < runs.origin
where runs.kind = 'live'
  and runs.status = 'published'
  and runs.origin = (
      select max(newest.origin)
      from runs as newest
      where newest.recipe = runs.recipe and newest.kind = 'live' and newest.status = 'published'
  )
  and not exists (
      select 1
      from run_series
      where run_series.run_number = runs.run_number and run_series.series_id = ended.series_id
  );

CREATE VIEW recipes as
select
    recipe,
    nullif(json_extract(definition, '$.description'), '') as description,
    nullif(json_extract(definition, '$.unit'), '') as unit,
    json_extract(definition, '$.frequency') as frequency,
    json_extract(definition, '$.calendar') as calendar,
    zone,
    season_length,
    json_extract(definition, '$.horizon') as horizon,
    json_extract(definition, '$.source.kind') as source_kind,
    json_extract(definition, '$.model.architecture') as architecture,
    json_extract(definition, '$.training.policy') as training_policy,
    json_extract(definition, '$.gate.baseline') as baseline,
    cast(json_extract(definition, '$.publish.minimum') as real) as minimum,
    cast(json_extract(definition, '$.publish.maximum') as real) as maximum,
    champion_version as model_version,
    fingerprint
from registered_recipes;

CREATE VIEW series as
select
    series.recipe,
    series.series,
    (
        select json_group_object(attributes.name, attributes.value)
        from attributes
        where attributes.series_id = series.series_id
          and attributes.batch_id = (
              select max(newest.batch_id)
              from attributes as newest
              where newest.series_id = attributes.series_id and newest.name = attributes.name
          )
    ) as attributes,
    not exists (
        select 1 from inactive_series as ended where ended.recipe = series.recipe and ended.series = series.series
    ) as is_active,
    min(observations.period) as first_period,
    max(observations.period) as last_period,
    count(observations.period) as num_observations
from series_variables as series
left join observations
  on observations.series_id = series.series_id
 and not exists (
     select 1
     from revisions
     where revisions.series_id = observations.series_id and revisions.period = observations.period
       and revisions.value is null
       and revisions.batch_id = (
           select max(newest.batch_id)
           from revisions as newest
           where newest.series_id = observations.series_id and newest.period = observations.period
       )
 )
where series.variable = ''
group by series.series_id, series.recipe, series.series;

CREATE VIEW covariates as
select
    series.recipe,
    series.series,
    series.variable as covariate,
    observations.period,
    case when revisions.batch_id is null then observations.value else revisions.value end as value,
    batches.recorded_at,
    case when zones.period_zone = 'UTC' then observations.period || substr(' 00:00:00.000000', length(observations.period) - 9) || '+00:00'
    else strftime('%Y-%m-%d %H:%M:%S', observations.period, -(
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.period_zone and offsets.local_starts_at <= observations.period
        order by offsets.local_starts_at desc limit 1) || ' seconds') || '.000000+00:00' end as period_at,
    case when zones.zone = zones.period_zone then observations.period
    else rtrim(replace(strftime('%Y-%m-%d %H:%M:%S', observations.period, (
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.zone and offsets.starts_at <= observations.period
        order by offsets.starts_at desc limit 1) || ' seconds') || substr(observations.period, 20) || 'Z', ' 00:00:00Z', 'Z'), 'Z') end as period_local
from series_variables as series
join observations on observations.series_id = series.series_id
left join revisions
  on revisions.series_id = observations.series_id
 and revisions.period = observations.period
 and revisions.batch_id = (
     select max(newest.batch_id)
     from revisions as newest
     where newest.series_id = observations.series_id and newest.period = observations.period
 )
join batches on batches.batch_id = coalesce(revisions.batch_id, observations.batch_id)
left join registered_recipes as zones on zones.recipe = series.recipe
where series.variable <> ''
  and (revisions.batch_id is null or revisions.value is not null);

CREATE VIEW attempts as
select attempt_id, recipe, command, started_at, finished_at, status, error
from command_attempts;

CREATE VIEW decisions as
select recipe, decided_at, what, outcome, reason, kind, model_version, cast(null as bigint) as batch_id, as_of
from model_decisions
union all
select batches.recipe, batches.recorded_at, 'batch', 'approved', held.message, 'live', null, held.batch_id, null
from batches
join batches as held on held.batch_id = batches.releases
union all
select recipe, decided_at, 'batch', decision, message, 'live', null, batch_id, null
from batches
where decision is not null
union all
select recipe, recorded_at, 'history', 'reset', null, 'live', null, batch_id, null
from batches
where source = 'reset' and content_hash = '';

CREATE VIEW model_history as
select
    models.recipe,
    models.model_version,
    models.training,
    models.reason,
    models.trained_at,
    models.cutoff,
    models.as_of,
    models.skill,
    coalesce(models.model_version = recipes.champion_version, false) as is_champion,
    models.promoted_at,
    case when models.model_version = recipes.champion_version then null else (
        select min(later.decided_at)
        from decisions as later
        where later.recipe = models.recipe and later.kind = 'live' and later.decided_at > models.promoted_at
          and (later.outcome = 'promoted' and later.model_version <> models.model_version or later.outcome = 'reset')
    ) end as replaced_at,
    models.model_hash,
    models.mlflow_run_id,
    models.data_hash,
    models.recipe_fingerprint,
    models.code_version
from (
    select
        models.*,
        (
            select max(promotion.decided_at)
            from model_decisions as promotion
            where promotion.recipe = models.recipe and promotion.model_version = models.model_version
              and promotion.what = 'promotion' and promotion.outcome = 'promoted' and promotion.kind = 'live'
        ) as promoted_at
    from models
) as models
join registered_recipes as recipes on recipes.recipe = models.recipe;

CREATE VIEW backtest_by_series as
select
    series.recipe,
    errors.model_version,
    series.series,
    errors.num_scored,
    errors.mae,
    errors.rmse,
    errors.mase,
    errors.smape,
    errors.baseline,
    errors.baseline_mae,
    errors.baseline_mase,
    1 - errors.mase / nullif(errors.baseline_mase, 0) as skill
from backtest_errors as errors
join series_variables as series on series.series_id = errors.series_id;

insert into schema_version (version_num) values ('0016');
