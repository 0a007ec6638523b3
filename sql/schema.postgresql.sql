CREATE FUNCTION guard_forecasts() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
declare
  touched bigint[];
begin
  select array_agg(run_number) into touched from (select distinct run_number from changed) as numbers;
  perform 1 from runs where run_number = any(touched) for share;
  if exists (
      select 1 from unnest(touched) as number
      left join runs on runs.run_number = number
      where runs.status is distinct from 'staged') then
    raise exception 'the forecasts of a published run are never changed, and those of no run never written';
  end if;
  if tg_table_name = 'run_series' then
    if exists (
        select 1 from changed
        left join series_variables as series on series.series_id = changed.series_id
        where series.series_id is null) then
      raise exception 'a forecast is of a series that is known';
    end if;
  end if;
  return null;
end $$;

CREATE FUNCTION guard_history() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  raise exception using message = tg_table_name || ' are appended, never changed';
end $$;

CREATE FUNCTION guard_revisions() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
  if exists (
      select 1 from added
      left join observations
        on observations.series_id = added.series_id and observations.period = added.period
      where observations.batch_id is null or observations.batch_id >= added.batch_id) then
    raise exception 'a revision follows the observation that it revises';
  end if;
  return null;
end $$;

CREATE FUNCTION guard_run() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
  if tg_op = 'INSERT' then
    if new.status <> 'staged' then raise exception 'a run is staged, once, before it is published'; end if;
    return new;
  end if;
  if tg_op = 'DELETE' then
    if old.status <> 'staged' then raise exception 'a published run is never deleted'; end if;
    if exists (select 1 from forecasts where run_number = old.run_number)
       or exists (select 1 from run_series where run_number = old.run_number) then
      raise exception 'a staged run is deleted after its forecasts';
    end if;
    return old;
  end if;
  if old.status = 'staged' and new.status <> 'staged' and (new.status <> 'published' or 
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
      select series_id from forecasts where run_number = new.run_number group by series_id
      except
      select series_id from run_series where run_number = new.run_number)) then
    raise exception 'a run goes out with the number of rows that it declares';
  end if;
  if old.status <> 'staged' and (old.status <> 'published' or new.status <> 'superseded'
     or new.superseded_by is null or new.superseded_by = new.run_id
     or new.run_number is distinct from old.run_number or new.run_id is distinct from old.run_id or new.recipe is distinct from old.recipe or new.kind is distinct from old.kind or new.origin is distinct from old.origin or new.as_of is distinct from old.as_of or new.data_hash is distinct from old.data_hash or new.recipe_fingerprint is distinct from old.recipe_fingerprint or new.model_version is distinct from old.model_version or new.model_hash is distinct from old.model_hash or new.code_version is distinct from old.code_version or new.num_series is distinct from old.num_series or new.num_fallback is distinct from old.num_fallback or new.num_rows is distinct from old.num_rows or new.content_hash is distinct from old.content_hash or new.expected_next_by is distinct from old.expected_next_by or new.published_at is distinct from old.published_at or new.calibration is distinct from old.calibration or new.recorded_by is distinct from old.recorded_by) then
    raise exception 'a published run is never changed, only superseded';
  end if;
  return new;
end $$;

CREATE TABLE alerts (
    alert_id bigint NOT NULL,
    recipe text NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    sent_at timestamp with time zone NOT NULL,
    CONSTRAINT alert_state CHECK ((state = ANY (ARRAY['raised'::text, 'recovered'::text])))
);

COMMENT ON TABLE alerts IS 'Alerts about recipes that were sent; added to, never changed.';

COMMENT ON COLUMN alerts.alert_id IS 'number';

COMMENT ON COLUMN alerts.recipe IS 'recipe';

COMMENT ON COLUMN alerts.kind IS 'stale, failed, refused, on hold, fallbacks, drift or outbox';

COMMENT ON COLUMN alerts.state IS 'raised, or recovered: the reason was gone';

COMMENT ON COLUMN alerts.reason IS 'what was the matter, in words';

COMMENT ON COLUMN alerts.sent_at IS 'instant at which it was sent';

ALTER TABLE alerts ALTER COLUMN alert_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME alerts_alert_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE forecasts (
    run_number bigint NOT NULL,
    series_id bigint NOT NULL,
    step integer NOT NULL,
    mean double precision NOT NULL,
    lower_95 double precision NOT NULL,
    lower_80 double precision NOT NULL,
    median double precision NOT NULL,
    upper_80 double precision NOT NULL,
    upper_95 double precision NOT NULL,
    baseline double precision,
    CONSTRAINT forecast_baseline_finite CHECK (((baseline >= -1.7976931348623157e308) AND (baseline <= 1.7976931348623157e308))),
    CONSTRAINT forecast_mean_finite CHECK (((mean >= -1.7976931348623157e308) AND (mean <= 1.7976931348623157e308))),
    CONSTRAINT forecast_quantiles_ascend CHECK (((-1.7976931348623157e308 <= lower_95) AND (lower_95 <= lower_80) AND (lower_80 <= median) AND (median <= upper_80) AND (upper_80 <= upper_95) AND (upper_95 <= 1.7976931348623157e308))),
    CONSTRAINT forecast_step CHECK ((step >= 1))
);

COMMENT ON TABLE forecasts IS 'One step of one series of a run.';

COMMENT ON COLUMN forecasts.run_number IS 'run that it is part of';

COMMENT ON COLUMN forecasts.series_id IS 'series that is forecast';

COMMENT ON COLUMN forecasts.step IS 'periods after the origin, counted from 1';

COMMENT ON COLUMN forecasts.mean IS 'expected value in the unit of the recipe';

COMMENT ON COLUMN forecasts.lower_95 IS 'quantile 0.025';

COMMENT ON COLUMN forecasts.lower_80 IS 'quantile 0.1';

COMMENT ON COLUMN forecasts.median IS 'quantile 0.5';

COMMENT ON COLUMN forecasts.upper_80 IS 'quantile 0.9';

COMMENT ON COLUMN forecasts.upper_95 IS 'quantile 0.975';

COMMENT ON COLUMN forecasts.baseline IS 'what the recipe''s baseline says from the same origin; null: it was not kept when this run was made';

CREATE TABLE observations (
    series_id bigint NOT NULL,
    period timestamp without time zone NOT NULL,
    value double precision NOT NULL,
    batch_id bigint NOT NULL,
    CONSTRAINT observation_finite CHECK (((value >= -1.7976931348623157e308) AND (value <= 1.7976931348623157e308)))
)
PARTITION BY RANGE (period);

COMMENT ON TABLE observations IS 'The first value of a series for a period; added to, never changed. Partitioned by period.';

COMMENT ON COLUMN observations.series_id IS 'series that was observed; no foreign key, for speed: it is written with numbers just looked up';

COMMENT ON COLUMN observations.period IS 'start of the period, UTC';

COMMENT ON COLUMN observations.value IS 'value in the unit of the recipe, finite';

COMMENT ON COLUMN observations.batch_id IS 'batch that reported it first; its recorded_at is when it became known';

CREATE TABLE registered_recipes (
    recipe text NOT NULL,
    definition text NOT NULL,
    fingerprint text NOT NULL,
    epoch integer DEFAULT 0 NOT NULL,
    champion_version integer,
    season_length integer,
    zone text DEFAULT 'UTC'::text NOT NULL,
    period_zone text DEFAULT 'UTC'::text NOT NULL
);

COMMENT ON TABLE registered_recipes IS 'What is forecast: the recipe as it was last run.';

COMMENT ON COLUMN registered_recipes.recipe IS 'name, stable for ever';

COMMENT ON COLUMN registered_recipes.definition IS 'the whole recipe as JSON, defaults filled in';

COMMENT ON COLUMN registered_recipes.fingerprint IS 'hash of what in the definition changes numbers';

COMMENT ON COLUMN registered_recipes.epoch IS 'counts the changes of champion: who changes it names the epoch that it saw';

COMMENT ON COLUMN registered_recipes.champion_version IS 'model that publishes; null before the first';

COMMENT ON COLUMN registered_recipes.season_length IS 'periods per season: the recipe''s, or the usual number of its frequency; null: not known';

COMMENT ON COLUMN registered_recipes.zone IS 'zone in which people read its periods';

COMMENT ON COLUMN registered_recipes.period_zone IS 'zone in which its periods are stored: UTC for hours and shorter, otherwise that of its local days';

CREATE TABLE revisions (
    series_id bigint NOT NULL,
    period timestamp without time zone NOT NULL,
    batch_id bigint NOT NULL,
    value double precision,
    CONSTRAINT revision_finite CHECK (((value >= -1.7976931348623157e308) AND (value <= 1.7976931348623157e308)))
);

COMMENT ON TABLE revisions IS 'A later value for a period that was observed before; added to, never changed.';

COMMENT ON COLUMN revisions.series_id IS 'series that was observed';

COMMENT ON COLUMN revisions.period IS 'start of the period, UTC';

COMMENT ON COLUMN revisions.batch_id IS 'batch that reported it; as of an instant the highest one counts';

COMMENT ON COLUMN revisions.value IS 'value in the unit of the recipe, finite; null: the value was withdrawn, from then on the period is a gap';

CREATE TABLE run_series (
    run_number bigint NOT NULL,
    series_id bigint NOT NULL,
    method text NOT NULL,
    reason text,
    scale double precision,
    network_steps integer DEFAULT 0 NOT NULL,
    volatility_group integer,
    interval_factor double precision,
    has_baseline_width integer DEFAULT 0 NOT NULL,
    CONSTRAINT run_series_interval_factor CHECK ((interval_factor >= (0)::double precision)),
    CONSTRAINT run_series_scale CHECK ((scale >= (0)::double precision))
);

COMMENT ON TABLE run_series IS 'The series that a run forecasts, and how.';

COMMENT ON COLUMN run_series.run_number IS 'run';

COMMENT ON COLUMN run_series.series_id IS 'series that is forecast';

COMMENT ON COLUMN run_series.method IS 'lstm, or fallback: and the simpler method that stood in';

COMMENT ON COLUMN run_series.reason IS 'why a fallback stood in, what the model did not know, or why the interval has the width of the baseline; null: none of them';

COMMENT ON COLUMN run_series.scale IS 'mean absolute seasonal difference over the last seasons up to the origin; 0: there is none; null: it was not kept';

COMMENT ON COLUMN run_series.network_steps IS 'how many of the first steps the model forecast although a simpler method stood in for the later ones';

COMMENT ON COLUMN run_series.volatility_group IS 'which series have similar volatility: the base-2 logarithm of their seasonal change relative to their size; null: it was not kept';

COMMENT ON COLUMN run_series.interval_factor IS 'what multiplies the factors of a typical series of the group in the calibration of the run; 0: it had no outcomes; null: it was not kept';

COMMENT ON COLUMN run_series.has_baseline_width IS '1: the interval has the width of the baseline, around the median of the model';

CREATE TABLE run_steps (
    run_number bigint NOT NULL,
    step integer NOT NULL,
    period timestamp without time zone NOT NULL,
    CONSTRAINT run_step CHECK ((step >= 1))
);

COMMENT ON TABLE run_steps IS 'The periods that a run forecasts.';

COMMENT ON COLUMN run_steps.run_number IS 'run';

COMMENT ON COLUMN run_steps.step IS 'periods after the origin, counted from 1';

COMMENT ON COLUMN run_steps.period IS 'period that is forecast: its start, UTC';

CREATE TABLE runs (
    run_id text NOT NULL,
    recipe text NOT NULL,
    kind text NOT NULL,
    origin timestamp without time zone NOT NULL,
    as_of timestamp with time zone NOT NULL,
    status text NOT NULL,
    data_hash text NOT NULL,
    recipe_fingerprint text NOT NULL,
    model_version integer,
    model_hash text,
    code_version text NOT NULL,
    num_series integer NOT NULL,
    num_fallback integer NOT NULL,
    num_rows integer NOT NULL,
    content_hash text NOT NULL,
    expected_next_by timestamp with time zone NOT NULL,
    published_at timestamp with time zone,
    superseded_by text,
    run_number bigint NOT NULL,
    calibration text,
    recorded_by timestamp with time zone,
    CONSTRAINT run_kind CHECK ((kind = ANY (ARRAY['live'::text, 'backfill'::text]))),
    CONSTRAINT run_published_at CHECK (((status = 'staged'::text) OR (published_at IS NOT NULL))),
    CONSTRAINT run_status CHECK ((status = ANY (ARRAY['staged'::text, 'published'::text, 'superseded'::text])))
);

COMMENT ON TABLE runs IS 'One publication of a recipe at an origin.';

COMMENT ON COLUMN runs.run_id IS 'name of the run';

COMMENT ON COLUMN runs.recipe IS 'recipe that was forecast';

COMMENT ON COLUMN runs.kind IS 'live, or backfill: made afterwards as of then, and never the latest';

COMMENT ON COLUMN runs.origin IS 'last period that the forecasts use, UTC; step 1 is the period after it';

COMMENT ON COLUMN runs.as_of IS 'instant up to which observations were known to it';

COMMENT ON COLUMN runs.status IS 'staged (nobody sees it), published, or superseded by another run at the same origin';

COMMENT ON COLUMN runs.data_hash IS 'hash of the observations that it used';

COMMENT ON COLUMN runs.recipe_fingerprint IS 'fingerprint of the recipe then';

COMMENT ON COLUMN runs.model_version IS 'model that forecast; null: baselines, before there was a network';

COMMENT ON COLUMN runs.model_hash IS 'sha256 of the manifest of its files; null: no model';

COMMENT ON COLUMN runs.code_version IS 'version of nextperiod that forecast';

COMMENT ON COLUMN runs.num_series IS 'series that it forecasts';

COMMENT ON COLUMN runs.num_fallback IS 'of these, how many by a simpler method than the model';

COMMENT ON COLUMN runs.num_rows IS 'forecasts that it holds; it cannot go out with another number';

COMMENT ON COLUMN runs.content_hash IS 'hash of all its forecasts';

COMMENT ON COLUMN runs.expected_next_by IS 'instant from which it is stale unless another run was published';

COMMENT ON COLUMN runs.published_at IS 'instant at which it went out; null while staged';

COMMENT ON COLUMN runs.superseded_by IS 'run that took its place; null if none did';

COMMENT ON COLUMN runs.run_number IS 'number of the run, which its forecasts repeat';

COMMENT ON COLUMN runs.calibration IS 'what its intervals were widened or narrowed by, as JSON; null: by nothing';

COMMENT ON COLUMN runs.recorded_by IS 'instant up to which observations had been recorded when it was made; null: as_of';

CREATE TABLE series_variables (
    series_id bigint NOT NULL,
    recipe text NOT NULL,
    series text NOT NULL,
    variable text DEFAULT ''::text NOT NULL
);

COMMENT ON TABLE series_variables IS 'A series of a recipe, or a covariate of one.';

COMMENT ON COLUMN series_variables.series_id IS 'number of the series, for ever';

COMMENT ON COLUMN series_variables.recipe IS 'recipe that it belongs to';

COMMENT ON COLUMN series_variables.series IS 'name as the source has it';

COMMENT ON COLUMN series_variables.variable IS 'empty: what is forecast; otherwise the covariate, named like its column';

CREATE TABLE zone_offsets (
    zone text NOT NULL,
    starts_at timestamp without time zone NOT NULL,
    local_starts_at timestamp without time zone NOT NULL,
    seconds integer NOT NULL
);

COMMENT ON TABLE zone_offsets IS 'The distances from UTC of each zone that a recipe names.';

COMMENT ON COLUMN zone_offsets.zone IS 'name in the tz database';

COMMENT ON COLUMN zone_offsets.starts_at IS 'instant from which the distance counts, UTC';

COMMENT ON COLUMN zone_offsets.local_starts_at IS 'first local time that belongs to it; of local times that occur twice it has the second ones';

COMMENT ON COLUMN zone_offsets.seconds IS 'distance from UTC; above 0 east of it';

CREATE VIEW anomalies AS
 SELECT runs.recipe,
    series.series,
    run_steps.period,
        CASE
            WHEN (revisions.batch_id IS NULL) THEN observations.value
            ELSE revisions.value
        END AS value,
    forecasts.lower_95,
    forecasts.upper_95,
    runs.run_id,
        CASE
            WHEN (zones.period_zone = 'UTC'::text) THEN (run_steps.period AT TIME ZONE 'UTC'::text)
            ELSE ((run_steps.period - ((( SELECT offsets.seconds
               FROM zone_offsets offsets
              WHERE ((offsets.zone = zones.period_zone) AND (offsets.local_starts_at <= run_steps.period))
              ORDER BY offsets.local_starts_at DESC
             LIMIT 1))::double precision * '00:00:01'::interval)) AT TIME ZONE 'UTC'::text)
        END AS period_at,
        CASE
            WHEN (zones.zone = zones.period_zone) THEN run_steps.period
            ELSE (run_steps.period + ((( SELECT offsets.seconds
               FROM zone_offsets offsets
              WHERE ((offsets.zone = zones.zone) AND (offsets.starts_at <= run_steps.period))
              ORDER BY offsets.starts_at DESC
             LIMIT 1))::double precision * '00:00:01'::interval))
        END AS period_local
   FROM ((((((runs
     JOIN series_variables series ON (((series.recipe = runs.recipe) AND (series.variable = ''::text))))
     JOIN forecasts ON (((forecasts.run_number = runs.run_number) AND (forecasts.series_id = series.series_id))))
     JOIN run_steps ON (((run_steps.run_number = forecasts.run_number) AND (run_steps.step = forecasts.step))))
     JOIN observations ON (((observations.series_id = forecasts.series_id) AND (observations.period = run_steps.period))))
     LEFT JOIN revisions ON (((revisions.series_id = observations.series_id) AND (revisions.period = observations.period) AND (revisions.batch_id = ( SELECT max(newest.batch_id) AS max
           FROM revisions newest
          WHERE ((newest.series_id = observations.series_id) AND (newest.period = observations.period)))))))
     LEFT JOIN registered_recipes zones ON ((zones.recipe = runs.recipe)))
  WHERE ((runs.kind = 'live'::text) AND (runs.status = 'published'::text) AND ((
        CASE
            WHEN (revisions.batch_id IS NULL) THEN observations.value
            ELSE revisions.value
        END < forecasts.lower_95) OR (
        CASE
            WHEN (revisions.batch_id IS NULL) THEN observations.value
            ELSE revisions.value
        END > forecasts.upper_95)) AND (NOT (EXISTS ( SELECT 1
           FROM ((runs nearer
             JOIN run_steps steps ON (((steps.run_number = nearer.run_number) AND (steps.period = run_steps.period))))
             JOIN run_series told ON (((told.run_number = nearer.run_number) AND (told.series_id = forecasts.series_id))))
          WHERE ((nearer.recipe = runs.recipe) AND (nearer.kind = 'live'::text) AND (nearer.status = 'published'::text) AND (nearer.origin > runs.origin))))));

COMMENT ON VIEW anomalies IS 'Observations outside the 95 % interval that was published for them from the last origin before.';

COMMENT ON COLUMN anomalies.recipe IS 'name of the recipe';

COMMENT ON COLUMN anomalies.series IS 'name of the series';

COMMENT ON COLUMN anomalies.period IS 'start of the period, UTC';

COMMENT ON COLUMN anomalies.value IS 'what was observed';

COMMENT ON COLUMN anomalies.lower_95 IS 'lower end of the interval';

COMMENT ON COLUMN anomalies.upper_95 IS 'upper end of the interval';

COMMENT ON COLUMN anomalies.run_id IS 'run that published the interval';

COMMENT ON COLUMN anomalies.period_at IS 'instant at which the period begins; days and longer periods begin at midnight in the zone of the recipe';

COMMENT ON COLUMN anomalies.period_local IS 'the period in the zone of the recipe; days and longer periods are local as they are';

CREATE TABLE command_attempts (
    attempt_id bigint NOT NULL,
    recipe text NOT NULL,
    command text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    status text NOT NULL,
    error text
);

COMMENT ON TABLE command_attempts IS 'A command that was carried out, or tried.';

COMMENT ON COLUMN command_attempts.attempt_id IS 'number; later ones are higher';

COMMENT ON COLUMN command_attempts.recipe IS 'recipe that it was about';

COMMENT ON COLUMN command_attempts.command IS 'run, ingest, train, forecast, score or backfill';

COMMENT ON COLUMN command_attempts.started_at IS 'instant of its start';

COMMENT ON COLUMN command_attempts.finished_at IS 'instant of its end; null: it runs, or was killed';

COMMENT ON COLUMN command_attempts.status IS 'running, or how it ended';

COMMENT ON COLUMN command_attempts.error IS 'its message in one line; null: none';

CREATE VIEW attempts AS
 SELECT attempt_id,
    recipe,
    command,
    started_at,
    finished_at,
    status,
    error
   FROM command_attempts;

COMMENT ON VIEW attempts IS 'What ran when, how it ended, and with which error; consecutive attempts with nothing to do are one row.';

COMMENT ON COLUMN attempts.attempt_id IS 'number; later ones are higher';

COMMENT ON COLUMN attempts.recipe IS 'name of the recipe';

COMMENT ON COLUMN attempts.command IS 'run, ingest, train, forecast, score or backfill';

COMMENT ON COLUMN attempts.started_at IS 'instant of its start';

COMMENT ON COLUMN attempts.finished_at IS 'instant of its end; null: it runs, or was killed';

COMMENT ON COLUMN attempts.status IS 'running, or how it ended';

COMMENT ON COLUMN attempts.error IS 'its message in one line; null: none';

CREATE SEQUENCE attempts_attempt_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE attempts_attempt_id_seq OWNED BY command_attempts.attempt_id;

CREATE TABLE attributes (
    series_id bigint NOT NULL,
    name text NOT NULL,
    batch_id bigint NOT NULL,
    value text NOT NULL
);

COMMENT ON TABLE attributes IS 'What a source says of a series as a whole; a change is a new row.';

COMMENT ON COLUMN attributes.series_id IS 'series that it describes';

COMMENT ON COLUMN attributes.name IS 'name of the attribute';

COMMENT ON COLUMN attributes.batch_id IS 'batch that reported it; the highest one counts';

COMMENT ON COLUMN attributes.value IS 'value, as text';

CREATE TABLE backtest_errors (
    series_id bigint NOT NULL,
    recipe text NOT NULL,
    model_version integer NOT NULL,
    num_scored integer NOT NULL,
    mae double precision NOT NULL,
    rmse double precision NOT NULL,
    mase double precision,
    smape double precision NOT NULL,
    baseline text NOT NULL,
    baseline_mae double precision,
    baseline_mase double precision
);

COMMENT ON TABLE backtest_errors IS 'The errors of a model''s backtest for one series.';

COMMENT ON COLUMN backtest_errors.series_id IS 'series';

COMMENT ON COLUMN backtest_errors.recipe IS 'recipe of the model';

COMMENT ON COLUMN backtest_errors.model_version IS 'model';

COMMENT ON COLUMN backtest_errors.num_scored IS 'observations that were compared';

COMMENT ON COLUMN backtest_errors.mae IS 'mean absolute error';

COMMENT ON COLUMN backtest_errors.rmse IS 'root mean square error';

COMMENT ON COLUMN backtest_errors.mase IS 'mean absolute scaled error; null: the history before has no scale';

COMMENT ON COLUMN backtest_errors.smape IS 'symmetric mean absolute percentage error, 0 to 200';

COMMENT ON COLUMN backtest_errors.baseline IS 'baseline that it is compared with';

COMMENT ON COLUMN backtest_errors.baseline_mae IS 'mean absolute error of the baseline; null: it cannot forecast the series';

COMMENT ON COLUMN backtest_errors.baseline_mase IS 'mean absolute scaled error of the baseline; null: there is none';

CREATE VIEW backtest_by_series AS
 SELECT series.recipe,
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
    ((1)::double precision - (errors.mase / NULLIF(errors.baseline_mase, (0)::double precision))) AS skill
   FROM (backtest_errors errors
     JOIN series_variables series ON ((series.series_id = errors.series_id)));

COMMENT ON VIEW backtest_by_series IS 'The errors of each model''s backtest by series, beside those of its baseline; models of earlier releases have none.';

COMMENT ON COLUMN backtest_by_series.recipe IS 'name of the recipe';

COMMENT ON COLUMN backtest_by_series.model_version IS 'model that was judged';

COMMENT ON COLUMN backtest_by_series.series IS 'name of the series';

COMMENT ON COLUMN backtest_by_series.num_scored IS 'observations that were compared';

COMMENT ON COLUMN backtest_by_series.mae IS 'mean absolute error in the unit of the recipe';

COMMENT ON COLUMN backtest_by_series.rmse IS 'root mean square error in the unit of the recipe';

COMMENT ON COLUMN backtest_by_series.mase IS 'mean absolute error in units of the history''s mean absolute seasonal difference; null: no history is long enough';

COMMENT ON COLUMN backtest_by_series.smape IS 'symmetric mean absolute percentage error, 0 to 200';

COMMENT ON COLUMN backtest_by_series.baseline IS 'method that it is compared with';

COMMENT ON COLUMN backtest_by_series.baseline_mae IS 'mean absolute error of the baseline; null: it cannot forecast the series';

COMMENT ON COLUMN backtest_by_series.baseline_mase IS 'mean absolute scaled error of the baseline; null: there is none';

COMMENT ON COLUMN backtest_by_series.skill IS '1 - mase / baseline_mase: above 0 is better; null: nothing to compare with';

CREATE TABLE backtest_comparisons (
    recipe text NOT NULL,
    model_version integer NOT NULL,
    comparison text NOT NULL
);

COMMENT ON TABLE backtest_comparisons IS 'A model''s backtest by series, as its report shows it: a large panel''s worst ones.';

COMMENT ON COLUMN backtest_comparisons.recipe IS 'recipe of the model';

COMMENT ON COLUMN backtest_comparisons.model_version IS 'model';

COMMENT ON COLUMN backtest_comparisons.comparison IS 'JSON: the periods of the test part, and of each series errors, coverage and forecasts';

CREATE TABLE batches (
    batch_id bigint NOT NULL,
    recipe text NOT NULL,
    source text NOT NULL,
    content_hash text NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    status text NOT NULL,
    message text,
    num_read integer NOT NULL,
    num_new integer NOT NULL,
    num_revised integer NOT NULL,
    num_same integer NOT NULL,
    num_rejected integer NOT NULL,
    state text DEFAULT '{}'::text NOT NULL,
    releases bigint,
    first_period timestamp without time zone,
    last_period timestamp without time zone,
    known_at timestamp with time zone,
    preview text,
    expectation text,
    decision text,
    decided_at timestamp with time zone,
    CONSTRAINT batch_status CHECK ((status = ANY (ARRAY['accepted'::text, 'refused'::text, 'held'::text, 'released'::text])))
);

COMMENT ON TABLE batches IS 'One delivery of a source: accepted, refused, or on hold.';

COMMENT ON COLUMN batches.batch_id IS 'number; within a recipe later batches have higher ones';

COMMENT ON COLUMN batches.recipe IS 'recipe that it was read for';

COMMENT ON COLUMN batches.source IS 'file or address that it came from, without secrets';

COMMENT ON COLUMN batches.content_hash IS 'hash of what was delivered; empty where it could not be read';

COMMENT ON COLUMN batches.recorded_at IS 'instant from which what it brought counts as known; ascends strictly within a recipe';

COMMENT ON COLUMN batches.status IS 'accepted, refused, held (waits for a person) or released (a person let it in, as a later batch)';

COMMENT ON COLUMN batches.message IS 'why it was refused or held; null if accepted';

COMMENT ON COLUMN batches.num_read IS 'rows that were read';

COMMENT ON COLUMN batches.num_new IS 'first values of a series and period';

COMMENT ON COLUMN batches.num_revised IS 'values that differ from what was known';

COMMENT ON COLUMN batches.num_same IS 'values that were known already';

COMMENT ON COLUMN batches.num_rejected IS 'rows that were refused';

COMMENT ON COLUMN batches.state IS 'what the source left for its next reading, as JSON';

COMMENT ON COLUMN batches.releases IS 'batch on hold that this one accepts; null for most';

COMMENT ON COLUMN batches.first_period IS 'first period of which it tells something new; null: of none';

COMMENT ON COLUMN batches.last_period IS 'last period of which it tells something new; null: of none';

COMMENT ON COLUMN batches.known_at IS 'instant since when the world knew what it brought, where the source says so; null: recorded_at';

COMMENT ON COLUMN batches.preview IS 'what a held batch would change, as JSON; null: it was not held';

COMMENT ON COLUMN batches.expectation IS 'what a person accepted of later deliveries, as JSON; null: the same as before';

COMMENT ON COLUMN batches.decision IS 'rejected or withdrawn by a person; null: neither';

COMMENT ON COLUMN batches.decided_at IS 'instant of that decision; null: there was none, or an earlier release did not keep it';

CREATE SEQUENCE batches_batch_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE batches_batch_id_seq OWNED BY batches.batch_id;

CREATE VIEW covariates AS
 SELECT series.recipe,
    series.series,
    series.variable AS covariate,
    observations.period,
        CASE
            WHEN (revisions.batch_id IS NULL) THEN observations.value
            ELSE revisions.value
        END AS value,
    batches.recorded_at,
        CASE
            WHEN (zones.period_zone = 'UTC'::text) THEN (observations.period AT TIME ZONE 'UTC'::text)
            ELSE ((observations.period - ((( SELECT offsets.seconds
               FROM zone_offsets offsets
              WHERE ((offsets.zone = zones.period_zone) AND (offsets.local_starts_at <= observations.period))
              ORDER BY offsets.local_starts_at DESC
             LIMIT 1))::double precision * '00:00:01'::interval)) AT TIME ZONE 'UTC'::text)
        END AS period_at,
        CASE
            WHEN (zones.zone = zones.period_zone) THEN observations.period
            ELSE (observations.period + ((( SELECT offsets.seconds
               FROM zone_offsets offsets
              WHERE ((offsets.zone = zones.zone) AND (offsets.starts_at <= observations.period))
              ORDER BY offsets.starts_at DESC
             LIMIT 1))::double precision * '00:00:01'::interval))
        END AS period_local
   FROM ((((series_variables series
     JOIN observations ON ((observations.series_id = series.series_id)))
     LEFT JOIN revisions ON (((revisions.series_id = observations.series_id) AND (revisions.period = observations.period) AND (revisions.batch_id = ( SELECT max(newest.batch_id) AS max
           FROM revisions newest
          WHERE ((newest.series_id = observations.series_id) AND (newest.period = observations.period)))))))
     JOIN batches ON ((batches.batch_id = COALESCE(revisions.batch_id, observations.batch_id))))
     LEFT JOIN registered_recipes zones ON ((zones.recipe = series.recipe)))
  WHERE ((series.variable <> ''::text) AND ((revisions.batch_id IS NULL) OR (revisions.value IS NOT NULL)));

COMMENT ON VIEW covariates IS 'The newest value of each covariate by series and period; periods ahead included.';

COMMENT ON COLUMN covariates.recipe IS 'name of the recipe';

COMMENT ON COLUMN covariates.series IS 'name of the series';

COMMENT ON COLUMN covariates.covariate IS 'column of the source that it is read from';

COMMENT ON COLUMN covariates.period IS 'start of the period, UTC';

COMMENT ON COLUMN covariates.value IS 'newest value';

COMMENT ON COLUMN covariates.recorded_at IS 'instant since which this value is known';

COMMENT ON COLUMN covariates.period_at IS 'instant at which the period begins; days and longer periods begin at midnight in the zone of the recipe';

COMMENT ON COLUMN covariates.period_local IS 'the period in the zone of the recipe; days and longer periods are local as they are';

CREATE VIEW current_observations AS
 SELECT series.recipe,
    series.series,
    observations.period,
        CASE
            WHEN (revisions.batch_id IS NULL) THEN observations.value
            ELSE revisions.value
        END AS value,
    batches.recorded_at,
        CASE
            WHEN (zones.period_zone = 'UTC'::text) THEN (observations.period AT TIME ZONE 'UTC'::text)
            ELSE ((observations.period - ((( SELECT offsets.seconds
               FROM zone_offsets offsets
              WHERE ((offsets.zone = zones.period_zone) AND (offsets.local_starts_at <= observations.period))
              ORDER BY offsets.local_starts_at DESC
             LIMIT 1))::double precision * '00:00:01'::interval)) AT TIME ZONE 'UTC'::text)
        END AS period_at,
        CASE
            WHEN (zones.zone = zones.period_zone) THEN observations.period
            ELSE (observations.period + ((( SELECT offsets.seconds
               FROM zone_offsets offsets
              WHERE ((offsets.zone = zones.zone) AND (offsets.starts_at <= observations.period))
              ORDER BY offsets.starts_at DESC
             LIMIT 1))::double precision * '00:00:01'::interval))
        END AS period_local
   FROM ((((series_variables series
     JOIN observations ON ((observations.series_id = series.series_id)))
     LEFT JOIN revisions ON (((revisions.series_id = observations.series_id) AND (revisions.period = observations.period) AND (revisions.batch_id = ( SELECT max(newest.batch_id) AS max
           FROM revisions newest
          WHERE ((newest.series_id = observations.series_id) AND (newest.period = observations.period)))))))
     JOIN batches ON ((batches.batch_id = COALESCE(revisions.batch_id, observations.batch_id))))
     LEFT JOIN registered_recipes zones ON ((zones.recipe = series.recipe)))
  WHERE ((series.variable = ''::text) AND ((revisions.batch_id IS NULL) OR (revisions.value IS NOT NULL)));

COMMENT ON VIEW current_observations IS 'The newest value of each series and period.';

COMMENT ON COLUMN current_observations.recipe IS 'name of the recipe';

COMMENT ON COLUMN current_observations.series IS 'name of the series';

COMMENT ON COLUMN current_observations.period IS 'start of the period, UTC';

COMMENT ON COLUMN current_observations.value IS 'newest value in the unit of the recipe';

COMMENT ON COLUMN current_observations.recorded_at IS 'instant since which this value is known; later than the first value''s if it was revised';

COMMENT ON COLUMN current_observations.period_at IS 'instant at which the period begins; days and longer periods begin at midnight in the zone of the recipe';

COMMENT ON COLUMN current_observations.period_local IS 'the period in the zone of the recipe; days and longer periods are local as they are';

CREATE TABLE model_decisions (
    decision_id bigint NOT NULL,
    recipe text NOT NULL,
    what text NOT NULL,
    kind text NOT NULL,
    outcome text NOT NULL,
    reason text NOT NULL,
    model_version integer,
    as_of timestamp with time zone NOT NULL,
    decided_at timestamp with time zone NOT NULL,
    facts text DEFAULT '{}'::text NOT NULL,
    CONSTRAINT decision_kind CHECK ((kind = ANY (ARRAY['live'::text, 'backfill'::text]))),
    CONSTRAINT decision_what CHECK ((what = ANY (ARRAY['training'::text, 'promotion'::text])))
);

COMMENT ON TABLE model_decisions IS 'What was decided about a recipe''s model, and why; added to, never changed.';

COMMENT ON COLUMN model_decisions.decision_id IS 'number';

COMMENT ON COLUMN model_decisions.recipe IS 'recipe';

COMMENT ON COLUMN model_decisions.what IS 'training: retrain, fine-tune or keep; promotion: does the challenger replace the champion';

COMMENT ON COLUMN model_decisions.kind IS 'live or backfill';

COMMENT ON COLUMN model_decisions.outcome IS 'retrain, fine-tune, keep; promoted, not promoted';

COMMENT ON COLUMN model_decisions.reason IS 'why, in words';

COMMENT ON COLUMN model_decisions.model_version IS 'model that it is about; null before the first';

COMMENT ON COLUMN model_decisions.as_of IS 'instant up to which observations were known';

COMMENT ON COLUMN model_decisions.decided_at IS 'instant of the decision';

COMMENT ON COLUMN model_decisions.facts IS 'what it was decided from, as JSON';

CREATE VIEW decisions AS
 SELECT model_decisions.recipe,
    model_decisions.decided_at,
    model_decisions.what,
    model_decisions.outcome,
    model_decisions.reason,
    model_decisions.kind,
    model_decisions.model_version,
    NULL::bigint AS batch_id,
    model_decisions.as_of
   FROM model_decisions
UNION ALL
 SELECT batches.recipe,
    batches.recorded_at AS decided_at,
    'batch'::text AS what,
    'approved'::text AS outcome,
    held.message AS reason,
    'live'::text AS kind,
    NULL::integer AS model_version,
    held.batch_id,
    NULL::timestamp with time zone AS as_of
   FROM (batches
     JOIN batches held ON ((held.batch_id = batches.releases)))
UNION ALL
 SELECT batches.recipe,
    batches.decided_at,
    'batch'::text AS what,
    batches.decision AS outcome,
    batches.message AS reason,
    'live'::text AS kind,
    NULL::integer AS model_version,
    batches.batch_id,
    NULL::timestamp with time zone AS as_of
   FROM batches
  WHERE (batches.decision IS NOT NULL)
UNION ALL
 SELECT batches.recipe,
    batches.recorded_at AS decided_at,
    'history'::text AS what,
    'reset'::text AS outcome,
    NULL::text AS reason,
    'live'::text AS kind,
    NULL::integer AS model_version,
    batches.batch_id,
    NULL::timestamp with time zone AS as_of
   FROM batches
  WHERE ((batches.source = 'reset'::text) AND (batches.content_hash = ''::text));

COMMENT ON VIEW decisions IS 'What was decided about models by training policy and gate, and about batches and histories by people.';

COMMENT ON COLUMN decisions.recipe IS 'name of the recipe';

COMMENT ON COLUMN decisions.decided_at IS 'instant of the decision; null: an earlier release did not keep it';

COMMENT ON COLUMN decisions.what IS 'training, promotion (the gate), batch or history';

COMMENT ON COLUMN decisions.outcome IS 'retrain, fine-tune, keep; promoted (a new champion), not promoted; approved, rejected, withdrawn; reset';

COMMENT ON COLUMN decisions.reason IS 'why; of a batch: why it was on hold; null: nobody gave one';

COMMENT ON COLUMN decisions.kind IS 'live or backfill';

COMMENT ON COLUMN decisions.model_version IS 'model that it is about; null: none';

COMMENT ON COLUMN decisions.batch_id IS 'batch that it is about; null: none';

COMMENT ON COLUMN decisions.as_of IS 'instant up to which observations were known; null: about a batch or a history';

ALTER TABLE model_decisions ALTER COLUMN decision_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME decisions_decision_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE scores (
    run_number bigint NOT NULL,
    series_id bigint NOT NULL,
    step integer NOT NULL,
    as_of timestamp with time zone NOT NULL,
    observed double precision NOT NULL,
    error double precision NOT NULL,
    naive_error double precision,
    scale double precision,
    inside_80 integer NOT NULL,
    inside_95 integer NOT NULL,
    median_error double precision
);

COMMENT ON TABLE scores IS 'How one step of a published forecast turned out, as of one value that was observed.';

COMMENT ON COLUMN scores.run_number IS 'run that forecast it';

COMMENT ON COLUMN scores.series_id IS 'series that was forecast';

COMMENT ON COLUMN scores.step IS 'periods after the origin, counted from 1';

COMMENT ON COLUMN scores.as_of IS 'recorded_at of the value that it is scored against, or known_at for a backfill; a revision gets a score of its own';

COMMENT ON COLUMN scores.observed IS 'that value';

COMMENT ON COLUMN scores.error IS 'mean - observed';

COMMENT ON COLUMN scores.naive_error IS 'baseline - observed; null: the baseline was not kept when this run was made';

COMMENT ON COLUMN scores.scale IS 'that of the series when the run was made; null: it was not kept';

COMMENT ON COLUMN scores.inside_80 IS '1: between lower_80 and upper_80, 0: outside';

COMMENT ON COLUMN scores.inside_95 IS '1: between lower_95 and upper_95, 0: outside';

COMMENT ON COLUMN scores.median_error IS 'median - observed; null: that of the mean, in runs of earlier releases';

CREATE VIEW forecast_accuracy AS
 SELECT runs.recipe,
    runs.model_version,
    series.series,
    scores.step,
    count(*) AS num_scored,
    avg(abs(COALESCE(scores.median_error, scores.error))) AS mae,
    avg((abs(COALESCE(scores.median_error, scores.error)) / NULLIF(scores.scale, (0)::double precision))) AS mase,
    avg(
        CASE
            WHEN ((abs(scores.observed) + abs((scores.observed + COALESCE(scores.median_error, scores.error)))) = (0)::double precision) THEN (0)::double precision
            ELSE (((200)::double precision * abs(COALESCE(scores.median_error, scores.error))) / (abs(scores.observed) + abs((scores.observed + COALESCE(scores.median_error, scores.error)))))
        END) AS smape,
    avg(scores.error) AS bias,
    avg((scores.inside_80)::double precision) AS coverage_80,
    avg((scores.inside_95)::double precision) AS coverage_95,
    ((1)::double precision - (avg(
        CASE
            WHEN (scores.naive_error IS NOT NULL) THEN abs(COALESCE(scores.median_error, scores.error))
            ELSE NULL::double precision
        END) / NULLIF(avg(abs(scores.naive_error)), (0)::double precision))) AS skill
   FROM ((runs
     JOIN series_variables series ON (((series.recipe = runs.recipe) AND (series.variable = ''::text))))
     JOIN scores ON (((scores.run_number = runs.run_number) AND (scores.series_id = series.series_id))))
  WHERE ((runs.kind = 'live'::text) AND (scores.as_of = ( SELECT max(newest.as_of) AS max
           FROM scores newest
          WHERE ((newest.run_number = scores.run_number) AND (newest.series_id = scores.series_id) AND (newest.step = scores.step)))))
  GROUP BY runs.recipe, runs.model_version, series.series, scores.step;

COMMENT ON VIEW forecast_accuracy IS 'How good the live forecasts turned out to be, by model version, series and step.';

COMMENT ON COLUMN forecast_accuracy.recipe IS 'name of the recipe';

COMMENT ON COLUMN forecast_accuracy.model_version IS 'model that forecast; null: baselines, before there was a network';

COMMENT ON COLUMN forecast_accuracy.series IS 'name of the series';

COMMENT ON COLUMN forecast_accuracy.step IS 'periods after the origin, counted from 1';

COMMENT ON COLUMN forecast_accuracy.num_scored IS 'forecasts whose period is observed by now';

COMMENT ON COLUMN forecast_accuracy.mae IS 'mean absolute error of the median in the unit of the recipe';

COMMENT ON COLUMN forecast_accuracy.mase IS 'mean of absolute errors of the median, each in units of the history''s mean absolute seasonal difference; null: no history is long enough';

COMMENT ON COLUMN forecast_accuracy.smape IS 'symmetric mean absolute percentage error of the median, 0 to 200';

COMMENT ON COLUMN forecast_accuracy.bias IS 'average of mean - observed in the unit of the recipe';

COMMENT ON COLUMN forecast_accuracy.coverage_80 IS 'share observed between lower_80 and upper_80; 0.8 is right';

COMMENT ON COLUMN forecast_accuracy.coverage_95 IS 'share observed between lower_95 and upper_95; 0.95 is right';

COMMENT ON COLUMN forecast_accuracy.skill IS '1 - mae / mae of the baseline published beside the forecast: above 0 is better; null: nothing to compare with';

CREATE VIEW forecast_history AS
 SELECT runs.recipe,
    series.series,
    run_steps.period,
    forecasts.step,
    forecasts.mean,
    forecasts.lower_95,
    forecasts.lower_80,
    forecasts.median,
    forecasts.upper_80,
    forecasts.upper_95,
        CASE
            WHEN (forecasts.step <= run_series.network_steps) THEN 'lstm'::text
            ELSE run_series.method
        END AS method,
        CASE
            WHEN (forecasts.step <= run_series.network_steps) THEN NULL::text
            ELSE run_series.reason
        END AS reason,
    runs.model_version,
    runs.origin,
    runs.as_of,
    runs.published_at,
    runs.run_id,
    runs.kind,
        CASE
            WHEN (zones.period_zone = 'UTC'::text) THEN (run_steps.period AT TIME ZONE 'UTC'::text)
            ELSE ((run_steps.period - ((( SELECT offsets.seconds
               FROM zone_offsets offsets
              WHERE ((offsets.zone = zones.period_zone) AND (offsets.local_starts_at <= run_steps.period))
              ORDER BY offsets.local_starts_at DESC
             LIMIT 1))::double precision * '00:00:01'::interval)) AT TIME ZONE 'UTC'::text)
        END AS period_at,
        CASE
            WHEN (zones.zone = zones.period_zone) THEN run_steps.period
            ELSE (run_steps.period + ((( SELECT offsets.seconds
               FROM zone_offsets offsets
              WHERE ((offsets.zone = zones.zone) AND (offsets.starts_at <= run_steps.period))
              ORDER BY offsets.starts_at DESC
             LIMIT 1))::double precision * '00:00:01'::interval))
        END AS period_local
   FROM (((((runs
     JOIN series_variables series ON (((series.recipe = runs.recipe) AND (series.variable = ''::text))))
     JOIN run_series ON (((run_series.run_number = runs.run_number) AND (run_series.series_id = series.series_id))))
     JOIN forecasts ON (((forecasts.run_number = run_series.run_number) AND (forecasts.series_id = run_series.series_id))))
     JOIN run_steps ON (((run_steps.run_number = forecasts.run_number) AND (run_steps.step = forecasts.step))))
     LEFT JOIN registered_recipes zones ON ((zones.recipe = runs.recipe)))
  WHERE (runs.status = ANY (ARRAY['published'::text, 'superseded'::text]));

COMMENT ON VIEW forecast_history IS 'Every forecast ever published, superseded ones and backfills included.';

COMMENT ON COLUMN forecast_history.recipe IS 'name of the recipe';

COMMENT ON COLUMN forecast_history.series IS 'name of the series';

COMMENT ON COLUMN forecast_history.period IS 'period that is forecast: its start, UTC';

COMMENT ON COLUMN forecast_history.step IS 'periods after the origin, counted from 1';

COMMENT ON COLUMN forecast_history.mean IS 'expected value in the unit of the recipe';

COMMENT ON COLUMN forecast_history.lower_95 IS 'quantile 0.025';

COMMENT ON COLUMN forecast_history.lower_80 IS 'quantile 0.1';

COMMENT ON COLUMN forecast_history.median IS 'quantile 0.5';

COMMENT ON COLUMN forecast_history.upper_80 IS 'quantile 0.9';

COMMENT ON COLUMN forecast_history.upper_95 IS 'quantile 0.975';

COMMENT ON COLUMN forecast_history.method IS 'lstm, or fallback: and the simpler method that stood in';

COMMENT ON COLUMN forecast_history.reason IS 'why a fallback stood in, what the model did not know, or why the interval has the width of the baseline; null: none of them';

COMMENT ON COLUMN forecast_history.model_version IS 'model that forecast; null: baselines, before there was a network';

COMMENT ON COLUMN forecast_history.origin IS 'last period that the forecast uses, UTC';

COMMENT ON COLUMN forecast_history.as_of IS 'instant up to which observations were known to it';

COMMENT ON COLUMN forecast_history.published_at IS 'instant at which it went out';

COMMENT ON COLUMN forecast_history.run_id IS 'publication that it is part of';

COMMENT ON COLUMN forecast_history.kind IS 'live, or backfill: made afterwards as of then';

COMMENT ON COLUMN forecast_history.period_at IS 'instant at which the period begins; days and longer periods begin at midnight in the zone of the recipe';

COMMENT ON COLUMN forecast_history.period_local IS 'the period in the zone of the recipe; days and longer periods are local as they are';

CREATE TABLE held_rows (
    batch_id bigint NOT NULL,
    part integer NOT NULL,
    content bytea NOT NULL
);

COMMENT ON TABLE held_rows IS 'Cleaned values of a held batch, until a person lets them in or another batch comes.';

COMMENT ON COLUMN held_rows.batch_id IS 'batch that waits';

COMMENT ON COLUMN held_rows.part IS 'counted from 0';

COMMENT ON COLUMN held_rows.content IS 'a part of the values, as compressed NumPy arrays of numbers and text';

CREATE VIEW inactive_series AS
 SELECT ended.recipe,
    ended.series,
    ended.last_period,
    runs.origin,
    runs.run_id
   FROM (runs
     JOIN ( SELECT series.recipe,
            series.series,
            series.series_id,
            ( SELECT max(observations.period) AS max
                   FROM observations
                  WHERE (observations.series_id = series.series_id)) AS last_period
           FROM series_variables series
          WHERE (series.variable = ''::text)) ended ON (((ended.recipe = runs.recipe) AND (ended.last_period < runs.origin))))
  WHERE ((runs.kind = 'live'::text) AND (runs.status = 'published'::text) AND (runs.origin = ( SELECT max(newest.origin) AS max
           FROM runs newest
          WHERE ((newest.recipe = runs.recipe) AND (newest.kind = 'live'::text) AND (newest.status = 'published'::text)))) AND (NOT (EXISTS ( SELECT 1
           FROM run_series
          WHERE ((run_series.run_number = runs.run_number) AND (run_series.series_id = ended.series_id))))));

COMMENT ON VIEW inactive_series IS 'Series that have ended: no value within the last periods, and no rows in the newest published forecast.';

COMMENT ON COLUMN inactive_series.recipe IS 'name of the recipe';

COMMENT ON COLUMN inactive_series.series IS 'name of the series';

COMMENT ON COLUMN inactive_series.last_period IS 'last period with a value, UTC';

COMMENT ON COLUMN inactive_series.origin IS 'origin of the newest published forecast, UTC';

COMMENT ON COLUMN inactive_series.run_id IS 'run without it';

CREATE VIEW latest_forecasts AS
 SELECT runs.recipe,
    series.series,
    run_steps.period,
    forecasts.step,
    forecasts.mean,
    forecasts.lower_95,
    forecasts.lower_80,
    forecasts.median,
    forecasts.upper_80,
    forecasts.upper_95,
        CASE
            WHEN (forecasts.step <= run_series.network_steps) THEN 'lstm'::text
            ELSE run_series.method
        END AS method,
        CASE
            WHEN (forecasts.step <= run_series.network_steps) THEN NULL::text
            ELSE run_series.reason
        END AS reason,
    runs.model_version,
    runs.origin,
    runs.as_of,
    runs.published_at,
    runs.run_id,
        CASE
            WHEN (zones.period_zone = 'UTC'::text) THEN (run_steps.period AT TIME ZONE 'UTC'::text)
            ELSE ((run_steps.period - ((( SELECT offsets.seconds
               FROM zone_offsets offsets
              WHERE ((offsets.zone = zones.period_zone) AND (offsets.local_starts_at <= run_steps.period))
              ORDER BY offsets.local_starts_at DESC
             LIMIT 1))::double precision * '00:00:01'::interval)) AT TIME ZONE 'UTC'::text)
        END AS period_at,
        CASE
            WHEN (zones.zone = zones.period_zone) THEN run_steps.period
            ELSE (run_steps.period + ((( SELECT offsets.seconds
               FROM zone_offsets offsets
              WHERE ((offsets.zone = zones.zone) AND (offsets.starts_at <= run_steps.period))
              ORDER BY offsets.starts_at DESC
             LIMIT 1))::double precision * '00:00:01'::interval))
        END AS period_local
   FROM (((((runs
     JOIN series_variables series ON (((series.recipe = runs.recipe) AND (series.variable = ''::text))))
     JOIN run_series ON (((run_series.run_number = runs.run_number) AND (run_series.series_id = series.series_id))))
     JOIN forecasts ON (((forecasts.run_number = run_series.run_number) AND (forecasts.series_id = run_series.series_id))))
     JOIN run_steps ON (((run_steps.run_number = forecasts.run_number) AND (run_steps.step = forecasts.step))))
     LEFT JOIN registered_recipes zones ON ((zones.recipe = runs.recipe)))
  WHERE ((runs.kind = 'live'::text) AND (runs.status = 'published'::text) AND (runs.origin = ( SELECT max(newest.origin) AS max
           FROM runs newest
          WHERE ((newest.recipe = runs.recipe) AND (newest.kind = 'live'::text) AND (newest.status = 'published'::text)))));

COMMENT ON VIEW latest_forecasts IS 'The newest published forecast of each series and period: one live run a recipe, never two mixed.';

COMMENT ON COLUMN latest_forecasts.recipe IS 'name of the recipe';

COMMENT ON COLUMN latest_forecasts.series IS 'name of the series';

COMMENT ON COLUMN latest_forecasts.period IS 'period that is forecast: its start, UTC';

COMMENT ON COLUMN latest_forecasts.step IS 'periods after the origin, counted from 1';

COMMENT ON COLUMN latest_forecasts.mean IS 'expected value in the unit of the recipe';

COMMENT ON COLUMN latest_forecasts.lower_95 IS 'quantile 0.025';

COMMENT ON COLUMN latest_forecasts.lower_80 IS 'quantile 0.1';

COMMENT ON COLUMN latest_forecasts.median IS 'quantile 0.5';

COMMENT ON COLUMN latest_forecasts.upper_80 IS 'quantile 0.9';

COMMENT ON COLUMN latest_forecasts.upper_95 IS 'quantile 0.975';

COMMENT ON COLUMN latest_forecasts.method IS 'lstm, or fallback: and the simpler method that stood in';

COMMENT ON COLUMN latest_forecasts.reason IS 'why a fallback stood in, what the model did not know, or why the interval has the width of the baseline; null: none of them';

COMMENT ON COLUMN latest_forecasts.model_version IS 'model that forecast; null: baselines, before there was a network';

COMMENT ON COLUMN latest_forecasts.origin IS 'last period that the forecast uses, UTC';

COMMENT ON COLUMN latest_forecasts.as_of IS 'instant up to which observations were known to it';

COMMENT ON COLUMN latest_forecasts.published_at IS 'instant at which it went out';

COMMENT ON COLUMN latest_forecasts.run_id IS 'publication that it is part of';

COMMENT ON COLUMN latest_forecasts.period_at IS 'instant at which the period begins; days and longer periods begin at midnight in the zone of the recipe';

COMMENT ON COLUMN latest_forecasts.period_local IS 'the period in the zone of the recipe; days and longer periods are local as they are';

CREATE TABLE sample_paths (
    run_number bigint NOT NULL,
    series_id bigint NOT NULL,
    path integer NOT NULL,
    step integer NOT NULL,
    value double precision NOT NULL,
    CONSTRAINT sample_finite CHECK (((value >= -1.7976931348623157e308) AND (value <= 1.7976931348623157e308))),
    CONSTRAINT sample_path CHECK ((path >= 1)),
    CONSTRAINT sample_step CHECK ((step >= 1))
);

COMMENT ON TABLE sample_paths IS 'Scenarios: values that may follow each other, drawn from the forecast of a run; added to, never changed.';

COMMENT ON COLUMN sample_paths.run_number IS 'run that they are drawn from';

COMMENT ON COLUMN sample_paths.series_id IS 'series';

COMMENT ON COLUMN sample_paths.path IS 'number of the scenario, counted from 1';

COMMENT ON COLUMN sample_paths.step IS 'periods after the origin, counted from 1';

COMMENT ON COLUMN sample_paths.value IS 'value in the unit of the recipe';

CREATE VIEW latest_paths AS
 SELECT runs.recipe,
    series.series,
    sample_paths.path,
    sample_paths.step,
    run_steps.period,
    sample_paths.value,
    runs.origin,
    runs.run_id,
        CASE
            WHEN (zones.period_zone = 'UTC'::text) THEN (run_steps.period AT TIME ZONE 'UTC'::text)
            ELSE ((run_steps.period - ((( SELECT offsets.seconds
               FROM zone_offsets offsets
              WHERE ((offsets.zone = zones.period_zone) AND (offsets.local_starts_at <= run_steps.period))
              ORDER BY offsets.local_starts_at DESC
             LIMIT 1))::double precision * '00:00:01'::interval)) AT TIME ZONE 'UTC'::text)
        END AS period_at,
        CASE
            WHEN (zones.zone = zones.period_zone) THEN run_steps.period
            ELSE (run_steps.period + ((( SELECT offsets.seconds
               FROM zone_offsets offsets
              WHERE ((offsets.zone = zones.zone) AND (offsets.starts_at <= run_steps.period))
              ORDER BY offsets.starts_at DESC
             LIMIT 1))::double precision * '00:00:01'::interval))
        END AS period_local
   FROM ((((runs
     JOIN series_variables series ON (((series.recipe = runs.recipe) AND (series.variable = ''::text))))
     JOIN sample_paths ON (((sample_paths.run_number = runs.run_number) AND (sample_paths.series_id = series.series_id))))
     JOIN run_steps ON (((run_steps.run_number = sample_paths.run_number) AND (run_steps.step = sample_paths.step))))
     LEFT JOIN registered_recipes zones ON ((zones.recipe = runs.recipe)))
  WHERE ((runs.kind = 'live'::text) AND (runs.status = 'published'::text) AND (runs.origin = ( SELECT max(newest.origin) AS max
           FROM runs newest
          WHERE ((newest.recipe = runs.recipe) AND (newest.kind = 'live'::text) AND (newest.status = 'published'::text)))));

COMMENT ON VIEW latest_paths IS 'The sample paths of the newest published forecast: values that may follow each other.';

COMMENT ON COLUMN latest_paths.recipe IS 'name of the recipe';

COMMENT ON COLUMN latest_paths.series IS 'name of the series';

COMMENT ON COLUMN latest_paths.path IS 'number of the scenario, counted from 1';

COMMENT ON COLUMN latest_paths.step IS 'periods after the origin, counted from 1';

COMMENT ON COLUMN latest_paths.period IS 'period that is forecast: its start, UTC';

COMMENT ON COLUMN latest_paths.value IS 'value in the unit of the recipe';

COMMENT ON COLUMN latest_paths.origin IS 'last period that the forecast uses, UTC';

COMMENT ON COLUMN latest_paths.run_id IS 'publication that they are drawn from';

COMMENT ON COLUMN latest_paths.period_at IS 'instant at which the period begins; days and longer periods begin at midnight in the zone of the recipe';

COMMENT ON COLUMN latest_paths.period_local IS 'the period in the zone of the recipe; days and longer periods are local as they are';

CREATE TABLE leases (
    recipe text NOT NULL,
    epoch bigint NOT NULL,
    holder text NOT NULL,
    expires_at timestamp with time zone NOT NULL
);

COMMENT ON TABLE leases IS 'Who trains a recipe now, so that it happens once.';

COMMENT ON COLUMN leases.recipe IS 'recipe that is held';

COMMENT ON COLUMN leases.epoch IS 'counts the takings: who was overtaken holds an old one';

COMMENT ON COLUMN leases.holder IS 'process that holds it';

COMMENT ON COLUMN leases.expires_at IS 'instant from which another process may take it';

CREATE TABLE model_files (
    recipe text NOT NULL,
    model_version integer NOT NULL,
    name text NOT NULL,
    content bytea NOT NULL
);

COMMENT ON TABLE model_files IS 'The files of a model: numbers and text, no code.';

COMMENT ON COLUMN model_files.recipe IS 'recipe of the model';

COMMENT ON COLUMN model_files.model_version IS 'version of the model';

COMMENT ON COLUMN model_files.name IS 'name of the file';

COMMENT ON COLUMN model_files.content IS 'its bytes; their hash is in the manifest';

CREATE TABLE models (
    recipe text NOT NULL,
    model_version integer NOT NULL,
    model_hash text NOT NULL,
    training text NOT NULL,
    reason text NOT NULL,
    cutoff timestamp without time zone NOT NULL,
    as_of timestamp with time zone NOT NULL,
    data_hash text NOT NULL,
    recipe_fingerprint text NOT NULL,
    training_fingerprint text NOT NULL,
    code_version text NOT NULL,
    record text NOT NULL,
    skill double precision,
    trained_at timestamp with time zone NOT NULL,
    mlflow_run_id text
);

COMMENT ON TABLE models IS 'A training that ended with a model.';

COMMENT ON COLUMN models.recipe IS 'recipe that it forecasts';

COMMENT ON COLUMN models.model_version IS 'counted from 1 within the recipe';

COMMENT ON COLUMN models.model_hash IS 'sha256 of the manifest of its files';

COMMENT ON COLUMN models.training IS 'retrain or fine-tune';

COMMENT ON COLUMN models.reason IS 'why it was trained';

COMMENT ON COLUMN models.cutoff IS 'last period that it was fitted on, UTC';

COMMENT ON COLUMN models.as_of IS 'instant up to which observations were known to it';

COMMENT ON COLUMN models.data_hash IS 'hash of those observations';

COMMENT ON COLUMN models.recipe_fingerprint IS 'fingerprint of the recipe then';

COMMENT ON COLUMN models.training_fingerprint IS 'hash of what in the recipe decides the training';

COMMENT ON COLUMN models.code_version IS 'version of nextperiod that trained it';

COMMENT ON COLUMN models.record IS 'losses, backtest and figures as JSON';

COMMENT ON COLUMN models.skill IS '1 - MASE / MASE of the baseline, on the backtest: above 0 is better; null: no backtest was possible';

COMMENT ON COLUMN models.trained_at IS 'instant of the training';

COMMENT ON COLUMN models.mlflow_run_id IS 'run in MLflow that shows it; null until MLflow has followed';

CREATE VIEW model_history AS
 SELECT models.recipe,
    models.model_version,
    models.training,
    models.reason,
    models.trained_at,
    models.cutoff,
    models.as_of,
    models.skill,
    COALESCE((models.model_version = recipes.champion_version), false) AS is_champion,
    models.promoted_at,
        CASE
            WHEN (models.model_version = recipes.champion_version) THEN NULL::timestamp with time zone
            ELSE ( SELECT min(later.decided_at) AS min
               FROM decisions later
              WHERE ((later.recipe = models.recipe) AND (later.kind = 'live'::text) AND (later.decided_at > models.promoted_at) AND (((later.outcome = 'promoted'::text) AND (later.model_version <> models.model_version)) OR (later.outcome = 'reset'::text))))
        END AS replaced_at,
    models.model_hash,
    models.mlflow_run_id,
    models.data_hash,
    models.recipe_fingerprint,
    models.code_version
   FROM (( SELECT models_1.recipe,
            models_1.model_version,
            models_1.model_hash,
            models_1.training,
            models_1.reason,
            models_1.cutoff,
            models_1.as_of,
            models_1.data_hash,
            models_1.recipe_fingerprint,
            models_1.training_fingerprint,
            models_1.code_version,
            models_1.record,
            models_1.skill,
            models_1.trained_at,
            models_1.mlflow_run_id,
            ( SELECT max(promotion.decided_at) AS max
                   FROM model_decisions promotion
                  WHERE ((promotion.recipe = models_1.recipe) AND (promotion.model_version = models_1.model_version) AND (promotion.what = 'promotion'::text) AND (promotion.outcome = 'promoted'::text) AND (promotion.kind = 'live'::text))) AS promoted_at
           FROM models models_1) models
     JOIN registered_recipes recipes ON ((recipes.recipe = models.recipe)));

COMMENT ON VIEW model_history IS 'Every model of each recipe: how it was trained, how good it was on the backtest, and when it was the champion.';

COMMENT ON COLUMN model_history.recipe IS 'name of the recipe';

COMMENT ON COLUMN model_history.model_version IS 'counted from 1 within the recipe';

COMMENT ON COLUMN model_history.training IS 'retrain or fine-tune';

COMMENT ON COLUMN model_history.reason IS 'why it was trained';

COMMENT ON COLUMN model_history.trained_at IS 'instant of the training';

COMMENT ON COLUMN model_history.cutoff IS 'last period that it was fitted on, UTC';

COMMENT ON COLUMN model_history.as_of IS 'instant up to which observations were known to it';

COMMENT ON COLUMN model_history.skill IS '1 - MASE / MASE of the baseline, on the backtest: above 0 is better; null: no backtest was possible';

COMMENT ON COLUMN model_history.is_champion IS 'whether it publishes now';

COMMENT ON COLUMN model_history.promoted_at IS 'instant since which it was the champion; null: it never was';

COMMENT ON COLUMN model_history.replaced_at IS 'instant at which it stopped to be the champion; null: it never was, or is';

COMMENT ON COLUMN model_history.model_hash IS 'sha256 of the manifest of its files';

COMMENT ON COLUMN model_history.mlflow_run_id IS 'run in MLflow that shows it; null until MLflow has followed';

COMMENT ON COLUMN model_history.data_hash IS 'hash of the observations';

COMMENT ON COLUMN model_history.recipe_fingerprint IS 'fingerprint of the recipe then';

COMMENT ON COLUMN model_history.code_version IS 'version of nextperiod that trained it';

CREATE TABLE observations_default (
    series_id bigint NOT NULL,
    period timestamp without time zone NOT NULL,
    value double precision NOT NULL,
    batch_id bigint NOT NULL,
    CONSTRAINT observation_finite CHECK (((value >= -1.7976931348623157e308) AND (value <= 1.7976931348623157e308)))
);

COMMENT ON TABLE observations_default IS 'Observations of the periods that have no partition of their own.';

CREATE TABLE older_versions (
    series_id bigint NOT NULL,
    period timestamp without time zone NOT NULL,
    batch_id bigint NOT NULL,
    value double precision,
    CONSTRAINT older_version_finite CHECK (((value >= -1.7976931348623157e308) AND (value <= 1.7976931348623157e308)))
);

COMMENT ON TABLE older_versions IS 'A value that was known before another one which was recorded first; added to, never changed.';

COMMENT ON COLUMN older_versions.series_id IS 'series that was observed';

COMMENT ON COLUMN older_versions.period IS 'start of the period, UTC';

COMMENT ON COLUMN older_versions.batch_id IS 'batch that reported it; its known_at is earlier than that of a version in observations or revisions';

COMMENT ON COLUMN older_versions.value IS 'value in the unit of the recipe, finite; null: withdrawn';

CREATE TABLE outbox (
    outbox_id bigint NOT NULL,
    recipe text NOT NULL,
    kind text NOT NULL,
    reference text NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    last_error text,
    created_at timestamp with time zone NOT NULL,
    done_at timestamp with time zone
);

COMMENT ON TABLE outbox IS 'Entries for MLflow, pending or delivered.';

COMMENT ON COLUMN outbox.outbox_id IS 'number, in the order of delivery';

COMMENT ON COLUMN outbox.recipe IS 'recipe that it is about';

COMMENT ON COLUMN outbox.kind IS 'training: show it; champion: let the alias follow';

COMMENT ON COLUMN outbox.reference IS 'version of the model, and for a champion since which epoch';

COMMENT ON COLUMN outbox.tries IS 'how often it failed';

COMMENT ON COLUMN outbox.last_error IS 'how it failed last; null: it did not, or is done';

COMMENT ON COLUMN outbox.created_at IS 'instant from which it waits';

COMMENT ON COLUMN outbox.done_at IS 'instant at which MLflow had followed; null: it has not yet';

CREATE SEQUENCE outbox_outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE outbox_outbox_id_seq OWNED BY outbox.outbox_id;

CREATE VIEW recipe_status AS
 SELECT registered_recipes.recipe,
    latest.origin AS latest_origin,
    latest.published_at,
    latest.expected_next_by,
    COALESCE((now() > latest.expected_next_by), true) AS is_stale,
    latest.num_series,
    latest.num_fallback,
    latest.model_version,
    ((EXTRACT(epoch FROM (now() - models.trained_at)) / (86400)::numeric))::double precision AS model_age_days,
    command_attempts.started_at AS last_attempt_at,
    command_attempts.status AS last_attempt_status,
    command_attempts.error AS last_error
   FROM (((registered_recipes
     LEFT JOIN runs latest ON (((latest.recipe = registered_recipes.recipe) AND (latest.kind = 'live'::text) AND (latest.status = 'published'::text) AND (latest.origin = ( SELECT max(newest.origin) AS max
           FROM runs newest
          WHERE ((newest.recipe = registered_recipes.recipe) AND (newest.kind = 'live'::text) AND (newest.status = 'published'::text)))))))
     LEFT JOIN models ON (((models.recipe = latest.recipe) AND (models.model_version = latest.model_version))))
     LEFT JOIN command_attempts ON ((command_attempts.attempt_id = ( SELECT max(newest.attempt_id) AS max
           FROM command_attempts newest
          WHERE (newest.recipe = registered_recipes.recipe)))));

COMMENT ON VIEW recipe_status IS 'One row a recipe: what is published, whether it is stale, and how the last attempt went.';

COMMENT ON COLUMN recipe_status.recipe IS 'name of the recipe';

COMMENT ON COLUMN recipe_status.latest_origin IS 'origin of the latest forecasts, UTC; null: nothing is published';

COMMENT ON COLUMN recipe_status.published_at IS 'instant at which they went out; null: nothing is published';

COMMENT ON COLUMN recipe_status.expected_next_by IS 'instant from which they are stale; null: nothing is published';

COMMENT ON COLUMN recipe_status.is_stale IS 'whether that instant is past, or nothing is published';

COMMENT ON COLUMN recipe_status.num_series IS 'series that they hold; null: nothing is published';

COMMENT ON COLUMN recipe_status.num_fallback IS 'of these, how many by a simpler method than the model; null: nothing is published';

COMMENT ON COLUMN recipe_status.model_version IS 'model that forecast; null: none did, or nothing is published';

COMMENT ON COLUMN recipe_status.model_age_days IS 'days since its training; null: nothing is published';

COMMENT ON COLUMN recipe_status.last_attempt_at IS 'instant at which the last command began; null: none did';

COMMENT ON COLUMN recipe_status.last_attempt_status IS 'running, or how it ended; null: there was none';

COMMENT ON COLUMN recipe_status.last_error IS 'its message in one line; null: none';

CREATE TABLE recipe_versions (
    recipe text NOT NULL,
    fingerprint text NOT NULL,
    definition text NOT NULL
);

COMMENT ON TABLE recipe_versions IS 'Every definition that a recipe was run with.';

COMMENT ON COLUMN recipe_versions.recipe IS 'recipe';

COMMENT ON COLUMN recipe_versions.fingerprint IS 'hash of what in the definition changes numbers';

COMMENT ON COLUMN recipe_versions.definition IS 'the whole recipe as JSON, as it was first run with this fingerprint';

CREATE VIEW recipes AS
 SELECT recipe,
    NULLIF(((definition)::jsonb #>> '{description}'::text[]), ''::text) AS description,
    NULLIF(((definition)::jsonb #>> '{unit}'::text[]), ''::text) AS unit,
    ((definition)::jsonb #>> '{frequency}'::text[]) AS frequency,
    ((definition)::jsonb #>> '{calendar}'::text[]) AS calendar,
    zone,
    season_length,
    (((definition)::jsonb #>> '{horizon}'::text[]))::integer AS horizon,
    ((definition)::jsonb #>> '{source,kind}'::text[]) AS source_kind,
    ((definition)::jsonb #>> '{model,architecture}'::text[]) AS architecture,
    ((definition)::jsonb #>> '{training,policy}'::text[]) AS training_policy,
    ((definition)::jsonb #>> '{gate,baseline}'::text[]) AS baseline,
    (((definition)::jsonb #>> '{publish,minimum}'::text[]))::double precision AS minimum,
    (((definition)::jsonb #>> '{publish,maximum}'::text[]))::double precision AS maximum,
    champion_version AS model_version,
    fingerprint
   FROM registered_recipes;

COMMENT ON VIEW recipes IS 'What each recipe forecasts, as it was last run.';

COMMENT ON COLUMN recipes.recipe IS 'name of the recipe';

COMMENT ON COLUMN recipes.description IS 'one line about it; null: none';

COMMENT ON COLUMN recipes.unit IS 'unit of its values; null: the recipe names none';

COMMENT ON COLUMN recipes.frequency IS 'pandas offset alias of its periods: MS, D, h …';

COMMENT ON COLUMN recipes.calendar IS 'exchange or country whose sessions or business days are the periods; null: none';

COMMENT ON COLUMN recipes.zone IS 'zone in which its periods are read; UTC where the recipe names none';

COMMENT ON COLUMN recipes.season_length IS 'periods per season; null: not known before its next run';

COMMENT ON COLUMN recipes.horizon IS 'periods that are forecast';

COMMENT ON COLUMN recipes.source_kind IS 'csv, parquet, http, sql, prices …';

COMMENT ON COLUMN recipes.architecture IS 'network';

COMMENT ON COLUMN recipes.training_policy IS 'auto, retrain, fine-tune or keep';

COMMENT ON COLUMN recipes.baseline IS 'method that a model has to beat; auto: the best one on the backtest';

COMMENT ON COLUMN recipes.minimum IS 'least value that is published; null: no bound';

COMMENT ON COLUMN recipes.maximum IS 'largest value that is published; null: no bound';

COMMENT ON COLUMN recipes.model_version IS 'champion: the model that publishes; null: none';

COMMENT ON COLUMN recipes.fingerprint IS 'hash of what in the recipe decides the job';

CREATE TABLE rejections (
    rejection_id bigint NOT NULL,
    batch_id bigint NOT NULL,
    line integer,
    column_name text,
    series text,
    text text,
    rule text NOT NULL,
    file text,
    period timestamp without time zone
);

COMMENT ON TABLE rejections IS 'A row that was refused, or a whole file.';

COMMENT ON COLUMN rejections.rejection_id IS 'number';

COMMENT ON COLUMN rejections.batch_id IS 'batch that it was part of';

COMMENT ON COLUMN rejections.line IS 'line in the file, the header being 1; null: the whole file';

COMMENT ON COLUMN rejections.column_name IS 'column at fault; null: the whole row';

COMMENT ON COLUMN rejections.series IS 'series that the row names; null: none, or unreadable';

COMMENT ON COLUMN rejections.text IS 'what stood there; null: nothing';

COMMENT ON COLUMN rejections.rule IS 'rule that it broke';

COMMENT ON COLUMN rejections.file IS 'file of several that it was in; null: the batch''s source';

COMMENT ON COLUMN rejections.period IS 'period that the row names, UTC; null: none, or unreadable';

CREATE VIEW rejected_observations AS
 SELECT batches.recipe,
    COALESCE(rejections.file, batches.source) AS source,
    rejections.line,
    rejections.column_name,
    rejections.series,
    rejections.text,
    rejections.rule,
    batches.recorded_at AS rejected_at,
    rejections.period,
        CASE
            WHEN (zones.period_zone = 'UTC'::text) THEN (rejections.period AT TIME ZONE 'UTC'::text)
            ELSE ((rejections.period - ((( SELECT offsets.seconds
               FROM zone_offsets offsets
              WHERE ((offsets.zone = zones.period_zone) AND (offsets.local_starts_at <= rejections.period))
              ORDER BY offsets.local_starts_at DESC
             LIMIT 1))::double precision * '00:00:01'::interval)) AT TIME ZONE 'UTC'::text)
        END AS period_at,
        CASE
            WHEN (zones.zone = zones.period_zone) THEN rejections.period
            ELSE (rejections.period + ((( SELECT offsets.seconds
               FROM zone_offsets offsets
              WHERE ((offsets.zone = zones.zone) AND (offsets.starts_at <= rejections.period))
              ORDER BY offsets.starts_at DESC
             LIMIT 1))::double precision * '00:00:01'::interval))
        END AS period_local
   FROM ((rejections
     JOIN batches ON ((batches.batch_id = rejections.batch_id)))
     LEFT JOIN registered_recipes zones ON ((zones.recipe = batches.recipe)));

COMMENT ON VIEW rejected_observations IS 'Rows that were rejected, with the place and the rule; a row that is delivered again is listed once.';

COMMENT ON COLUMN rejected_observations.recipe IS 'recipe that was read for';

COMMENT ON COLUMN rejected_observations.source IS 'file or address that the row was in, without secrets';

COMMENT ON COLUMN rejected_observations.line IS 'line in the file, the header being 1; null: the whole file';

COMMENT ON COLUMN rejected_observations.column_name IS 'column at fault; null: the whole row';

COMMENT ON COLUMN rejected_observations.series IS 'series that the row names; null: none, or unreadable';

COMMENT ON COLUMN rejected_observations.text IS 'what stood there; null: nothing';

COMMENT ON COLUMN rejected_observations.rule IS 'rule that it broke';

COMMENT ON COLUMN rejected_observations.rejected_at IS 'instant at which it was first rejected';

COMMENT ON COLUMN rejected_observations.period IS 'period that the row names, UTC; null: none, or unreadable';

COMMENT ON COLUMN rejected_observations.period_at IS 'instant at which the period begins; days and longer periods begin at midnight in the zone of the recipe; null: as period';

COMMENT ON COLUMN rejected_observations.period_local IS 'the period in the zone of the recipe; days and longer periods are local as they are; null: as period';

CREATE SEQUENCE rejections_rejection_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE rejections_rejection_id_seq OWNED BY rejections.rejection_id;

ALTER TABLE runs ALTER COLUMN run_number ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME runs_run_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE schema_version (
    version_num character varying(32) NOT NULL
);

COMMENT ON TABLE schema_version IS 'The migration that the schema is at.';

COMMENT ON COLUMN schema_version.version_num IS 'number of the newest migration carried out';

CREATE TABLE scored (
    recipe text NOT NULL,
    kind text NOT NULL,
    batch_id bigint NOT NULL,
    CONSTRAINT scored_kind CHECK ((kind = ANY (ARRAY['live'::text, 'backfill'::text])))
);

COMMENT ON TABLE scored IS 'Up to where the forecasts of a recipe are scored.';

COMMENT ON COLUMN scored.recipe IS 'recipe';

COMMENT ON COLUMN scored.kind IS 'live or backfill: they are scored apart';

COMMENT ON COLUMN scored.batch_id IS 'newest batch whose values are scored';

CREATE VIEW series AS
 SELECT series.recipe,
    series.series,
    ( SELECT COALESCE(jsonb_object_agg(attributes.name, attributes.value), '{}'::jsonb) AS "coalesce"
           FROM attributes
          WHERE ((attributes.series_id = series.series_id) AND (attributes.batch_id = ( SELECT max(newest.batch_id) AS max
                   FROM attributes newest
                  WHERE ((newest.series_id = attributes.series_id) AND (newest.name = attributes.name)))))) AS attributes,
    (NOT (EXISTS ( SELECT 1
           FROM inactive_series ended
          WHERE ((ended.recipe = series.recipe) AND (ended.series = series.series))))) AS is_active,
    min(observations.period) AS first_period,
    max(observations.period) AS last_period,
    count(observations.period) AS num_observations
   FROM (series_variables series
     LEFT JOIN observations ON (((observations.series_id = series.series_id) AND (NOT (EXISTS ( SELECT 1
           FROM revisions
          WHERE ((revisions.series_id = observations.series_id) AND (revisions.period = observations.period) AND (revisions.value IS NULL) AND (revisions.batch_id = ( SELECT max(newest.batch_id) AS max
                   FROM revisions newest
                  WHERE ((newest.series_id = observations.series_id) AND (newest.period = observations.period)))))))))))
  WHERE (series.variable = ''::text)
  GROUP BY series.series_id, series.recipe, series.series;

COMMENT ON VIEW series IS 'The series of each recipe: what its source says of them, whether they go on, and what was observed.';

COMMENT ON COLUMN series.recipe IS 'name of the recipe';

COMMENT ON COLUMN series.series IS 'name of the series';

COMMENT ON COLUMN series.attributes IS 'static covariates by name, as JSON: attributes ->> ''region''';

COMMENT ON COLUMN series.is_active IS 'false: it has ended, and is listed in inactive_series';

COMMENT ON COLUMN series.first_period IS 'first period with a value, UTC; null: none';

COMMENT ON COLUMN series.last_period IS 'last period with a value, UTC; null: none';

COMMENT ON COLUMN series.num_observations IS 'periods with a value';

CREATE SEQUENCE series_series_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE series_series_id_seq OWNED BY series_variables.series_id;

ALTER TABLE ONLY observations ATTACH PARTITION observations_default DEFAULT;

ALTER TABLE ONLY batches ALTER COLUMN batch_id SET DEFAULT nextval('batches_batch_id_seq'::regclass);

ALTER TABLE ONLY command_attempts ALTER COLUMN attempt_id SET DEFAULT nextval('attempts_attempt_id_seq'::regclass);

ALTER TABLE ONLY outbox ALTER COLUMN outbox_id SET DEFAULT nextval('outbox_outbox_id_seq'::regclass);

ALTER TABLE ONLY rejections ALTER COLUMN rejection_id SET DEFAULT nextval('rejections_rejection_id_seq'::regclass);

ALTER TABLE ONLY series_variables ALTER COLUMN series_id SET DEFAULT nextval('series_series_id_seq'::regclass);

ALTER TABLE ONLY alerts
    ADD CONSTRAINT alerts_pkey PRIMARY KEY (alert_id);

ALTER TABLE ONLY command_attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (attempt_id);

ALTER TABLE ONLY attributes
    ADD CONSTRAINT attribute_once PRIMARY KEY (series_id, name, batch_id);

ALTER TABLE ONLY backtest_comparisons
    ADD CONSTRAINT backtest_comparison_once PRIMARY KEY (recipe, model_version);

ALTER TABLE ONLY backtest_errors
    ADD CONSTRAINT backtest_error_once PRIMARY KEY (series_id, model_version);

ALTER TABLE ONLY batches
    ADD CONSTRAINT batches_pkey PRIMARY KEY (batch_id);

ALTER TABLE ONLY model_decisions
    ADD CONSTRAINT decisions_pkey PRIMARY KEY (decision_id);

ALTER TABLE ONLY forecasts
    ADD CONSTRAINT forecast_number_once PRIMARY KEY (run_number, series_id, step);

ALTER TABLE ONLY held_rows
    ADD CONSTRAINT held_part_once PRIMARY KEY (batch_id, part);

ALTER TABLE ONLY leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (recipe);

ALTER TABLE ONLY model_files
    ADD CONSTRAINT model_file_once PRIMARY KEY (recipe, model_version, name);

ALTER TABLE ONLY models
    ADD CONSTRAINT model_hash_once UNIQUE (recipe, model_hash);

ALTER TABLE ONLY models
    ADD CONSTRAINT model_version_once PRIMARY KEY (recipe, model_version);

ALTER TABLE ONLY observations
    ADD CONSTRAINT observation_first PRIMARY KEY (series_id, period);

ALTER TABLE ONLY observations_default
    ADD CONSTRAINT observations_default_pkey PRIMARY KEY (series_id, period);

ALTER TABLE ONLY older_versions
    ADD CONSTRAINT older_version_once PRIMARY KEY (series_id, period, batch_id);

ALTER TABLE ONLY outbox
    ADD CONSTRAINT outbox_once UNIQUE (recipe, kind, reference);

ALTER TABLE ONLY outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (outbox_id);

ALTER TABLE ONLY recipe_versions
    ADD CONSTRAINT recipe_version_once PRIMARY KEY (recipe, fingerprint);

ALTER TABLE ONLY registered_recipes
    ADD CONSTRAINT recipes_pkey PRIMARY KEY (recipe);

ALTER TABLE ONLY rejections
    ADD CONSTRAINT rejections_pkey PRIMARY KEY (rejection_id);

ALTER TABLE ONLY revisions
    ADD CONSTRAINT revision_once PRIMARY KEY (series_id, period, batch_id);

ALTER TABLE ONLY runs
    ADD CONSTRAINT run_number_once UNIQUE (run_number);

ALTER TABLE ONLY run_series
    ADD CONSTRAINT run_series_once PRIMARY KEY (run_number, series_id);

ALTER TABLE ONLY run_steps
    ADD CONSTRAINT run_step_once PRIMARY KEY (run_number, step);

ALTER TABLE ONLY runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY sample_paths
    ADD CONSTRAINT sample_once PRIMARY KEY (run_number, series_id, path, step);

ALTER TABLE ONLY schema_version
    ADD CONSTRAINT schema_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY scores
    ADD CONSTRAINT score_number_once PRIMARY KEY (run_number, series_id, step, as_of);

ALTER TABLE ONLY scored
    ADD CONSTRAINT scored_once PRIMARY KEY (recipe, kind);

ALTER TABLE ONLY series_variables
    ADD CONSTRAINT series_name_once UNIQUE (recipe, series, variable);

ALTER TABLE ONLY series_variables
    ADD CONSTRAINT series_pkey PRIMARY KEY (series_id);

ALTER TABLE ONLY zone_offsets
    ADD CONSTRAINT zone_offset_once PRIMARY KEY (zone, starts_at);

CREATE INDEX alerts_of_recipe ON alerts USING btree (recipe, kind, alert_id);

CREATE INDEX attempts_of_recipe ON command_attempts USING btree (recipe, started_at);

CREATE INDEX batches_of_recipe ON batches USING btree (recipe, recorded_at);

CREATE INDEX decisions_of_recipe ON model_decisions USING btree (recipe, what, as_of);

CREATE UNIQUE INDEX one_published_run ON runs USING btree (recipe, kind, origin) WHERE (status = 'published'::text);

CREATE INDEX rejections_of_batch ON rejections USING btree (batch_id);

CREATE INDEX rejections_of_series ON rejections USING btree (series);

CREATE INDEX runs_of_recipe ON runs USING btree (recipe, kind, origin);

CREATE INDEX withdrawn_values ON revisions USING btree (series_id) WHERE (value IS NULL);

CREATE INDEX zone_offsets_of_local_times ON zone_offsets USING btree (zone, local_starts_at);

ALTER INDEX observation_first ATTACH PARTITION observations_default_pkey;

CREATE TRIGGER alerts_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON alerts FOR EACH STATEMENT EXECUTE FUNCTION guard_history();

CREATE TRIGGER decisions_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON model_decisions FOR EACH STATEMENT EXECUTE FUNCTION guard_history();

CREATE TRIGGER guard_all_attributes BEFORE TRUNCATE ON attributes FOR EACH STATEMENT EXECUTE FUNCTION guard_history();

CREATE TRIGGER guard_all_forecasts BEFORE TRUNCATE ON forecasts FOR EACH STATEMENT EXECUTE FUNCTION guard_history();

CREATE TRIGGER guard_all_observations BEFORE TRUNCATE ON observations FOR EACH STATEMENT EXECUTE FUNCTION guard_history();

CREATE TRIGGER guard_all_observations_default BEFORE TRUNCATE ON observations_default FOR EACH STATEMENT EXECUTE FUNCTION guard_history();

CREATE TRIGGER guard_all_older_versions BEFORE TRUNCATE ON older_versions FOR EACH STATEMENT EXECUTE FUNCTION guard_history();

CREATE TRIGGER guard_all_revisions BEFORE TRUNCATE ON revisions FOR EACH STATEMENT EXECUTE FUNCTION guard_history();

CREATE TRIGGER guard_all_run_series BEFORE TRUNCATE ON run_series FOR EACH STATEMENT EXECUTE FUNCTION guard_history();

CREATE TRIGGER guard_all_run_steps BEFORE TRUNCATE ON run_steps FOR EACH STATEMENT EXECUTE FUNCTION guard_history();

CREATE TRIGGER guard_all_runs BEFORE TRUNCATE ON runs FOR EACH STATEMENT EXECUTE FUNCTION guard_history();

CREATE TRIGGER guard_attributes BEFORE DELETE OR UPDATE ON attributes FOR EACH ROW EXECUTE FUNCTION guard_history();

CREATE TRIGGER guard_forecasts_delete AFTER DELETE ON forecasts REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION guard_forecasts();

CREATE TRIGGER guard_forecasts_insert AFTER INSERT ON forecasts REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION guard_forecasts();

CREATE TRIGGER guard_forecasts_update_of AFTER UPDATE ON forecasts REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION guard_forecasts();

CREATE TRIGGER guard_forecasts_update_to AFTER UPDATE ON forecasts REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION guard_forecasts();

CREATE TRIGGER guard_observations BEFORE DELETE OR UPDATE ON observations FOR EACH ROW EXECUTE FUNCTION guard_history();

CREATE TRIGGER guard_older_versions BEFORE DELETE OR UPDATE ON older_versions FOR EACH ROW EXECUTE FUNCTION guard_history();

CREATE TRIGGER guard_revisions BEFORE DELETE OR UPDATE ON revisions FOR EACH ROW EXECUTE FUNCTION guard_history();

CREATE TRIGGER guard_revisions_insert AFTER INSERT ON revisions REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION guard_revisions();

CREATE TRIGGER guard_run BEFORE INSERT OR DELETE OR UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION guard_run();

CREATE TRIGGER guard_run_series_delete AFTER DELETE ON run_series REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION guard_forecasts();

CREATE TRIGGER guard_run_series_insert AFTER INSERT ON run_series REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION guard_forecasts();

CREATE TRIGGER guard_run_series_update_of AFTER UPDATE ON run_series REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION guard_forecasts();

CREATE TRIGGER guard_run_series_update_to AFTER UPDATE ON run_series REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION guard_forecasts();

CREATE TRIGGER guard_run_steps_delete AFTER DELETE ON run_steps REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION guard_forecasts();

CREATE TRIGGER guard_run_steps_insert AFTER INSERT ON run_steps REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION guard_forecasts();

CREATE TRIGGER guard_run_steps_update_of AFTER UPDATE ON run_steps REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION guard_forecasts();

CREATE TRIGGER guard_run_steps_update_to AFTER UPDATE ON run_steps REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION guard_forecasts();

CREATE TRIGGER recipe_versions_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON recipe_versions FOR EACH STATEMENT EXECUTE FUNCTION guard_history();

CREATE TRIGGER sample_paths_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON sample_paths FOR EACH STATEMENT EXECUTE FUNCTION guard_history();

ALTER TABLE ONLY alerts
    ADD CONSTRAINT alerts_recipe_fkey FOREIGN KEY (recipe) REFERENCES registered_recipes(recipe);

ALTER TABLE ONLY attributes
    ADD CONSTRAINT attributes_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES batches(batch_id);

ALTER TABLE ONLY attributes
    ADD CONSTRAINT attributes_series_id_fkey FOREIGN KEY (series_id) REFERENCES series_variables(series_id);

ALTER TABLE ONLY backtest_comparisons
    ADD CONSTRAINT backtest_comparison_of_model FOREIGN KEY (recipe, model_version) REFERENCES models(recipe, model_version);

ALTER TABLE ONLY backtest_errors
    ADD CONSTRAINT backtest_error_of_model FOREIGN KEY (recipe, model_version) REFERENCES models(recipe, model_version);

ALTER TABLE ONLY backtest_errors
    ADD CONSTRAINT backtest_errors_series_id_fkey FOREIGN KEY (series_id) REFERENCES series_variables(series_id);

ALTER TABLE ONLY batches
    ADD CONSTRAINT batches_recipe_fkey FOREIGN KEY (recipe) REFERENCES registered_recipes(recipe);

ALTER TABLE ONLY batches
    ADD CONSTRAINT batches_releases_fkey FOREIGN KEY (releases) REFERENCES batches(batch_id);

ALTER TABLE ONLY model_decisions
    ADD CONSTRAINT decision_about FOREIGN KEY (recipe, model_version) REFERENCES models(recipe, model_version);

ALTER TABLE ONLY model_decisions
    ADD CONSTRAINT decisions_recipe_fkey FOREIGN KEY (recipe) REFERENCES registered_recipes(recipe);

ALTER TABLE ONLY model_files
    ADD CONSTRAINT file_of_model FOREIGN KEY (recipe, model_version) REFERENCES models(recipe, model_version);

ALTER TABLE ONLY held_rows
    ADD CONSTRAINT held_rows_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES batches(batch_id);

ALTER TABLE ONLY leases
    ADD CONSTRAINT leases_recipe_fkey FOREIGN KEY (recipe) REFERENCES registered_recipes(recipe);

ALTER TABLE ONLY models
    ADD CONSTRAINT models_recipe_fkey FOREIGN KEY (recipe) REFERENCES registered_recipes(recipe);

ALTER TABLE ONLY older_versions
    ADD CONSTRAINT older_versions_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES batches(batch_id);

ALTER TABLE ONLY older_versions
    ADD CONSTRAINT older_versions_series_id_fkey FOREIGN KEY (series_id) REFERENCES series_variables(series_id);

ALTER TABLE ONLY recipe_versions
    ADD CONSTRAINT recipe_versions_recipe_fkey FOREIGN KEY (recipe) REFERENCES registered_recipes(recipe);

ALTER TABLE ONLY rejections
    ADD CONSTRAINT rejections_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES batches(batch_id);

ALTER TABLE ONLY runs
    ADD CONSTRAINT run_by_model FOREIGN KEY (recipe, model_version) REFERENCES models(recipe, model_version);

ALTER TABLE ONLY run_steps
    ADD CONSTRAINT run_steps_run_number_fkey FOREIGN KEY (run_number) REFERENCES runs(run_number);

ALTER TABLE ONLY runs
    ADD CONSTRAINT runs_recipe_fkey FOREIGN KEY (recipe) REFERENCES registered_recipes(recipe);

ALTER TABLE ONLY runs
    ADD CONSTRAINT runs_superseded_by_fkey FOREIGN KEY (superseded_by) REFERENCES runs(run_id);

ALTER TABLE ONLY sample_paths
    ADD CONSTRAINT sample_paths_run_number_fkey FOREIGN KEY (run_number) REFERENCES runs(run_number);

ALTER TABLE ONLY sample_paths
    ADD CONSTRAINT sample_paths_series_id_fkey FOREIGN KEY (series_id) REFERENCES series_variables(series_id);

ALTER TABLE ONLY scores
    ADD CONSTRAINT score_of_number FOREIGN KEY (run_number, series_id, step) REFERENCES forecasts(run_number, series_id, step);

ALTER TABLE ONLY scored
    ADD CONSTRAINT scored_recipe_fkey FOREIGN KEY (recipe) REFERENCES registered_recipes(recipe);

ALTER TABLE ONLY series_variables
    ADD CONSTRAINT series_recipe_fkey FOREIGN KEY (recipe) REFERENCES registered_recipes(recipe);

insert into schema_version (version_num) values ('0016');
