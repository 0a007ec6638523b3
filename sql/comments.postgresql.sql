-- What every table, view and column holds: carried out by every upgrade, and shown by psql's \d+.
-- Periods and origins are timestamps without zone, always UTC; instants (... at, as of) are timestamps with zone.

comment on table schema_version is 'The migration that the schema is at.';
comment on column schema_version.version_num is 'number of the newest migration carried out';

comment on table registered_recipes is 'What is forecast: the recipe as it was last run.';
comment on column registered_recipes.recipe is 'name, stable for ever';
comment on column registered_recipes.definition is 'the whole recipe as JSON, defaults filled in';
comment on column registered_recipes.fingerprint is 'hash of what in the definition changes numbers';
comment on column registered_recipes.epoch is 'counts the changes of champion: who changes it names the epoch that it saw';
comment on column registered_recipes.champion_version is 'model that publishes; null before the first';
comment on column registered_recipes.season_length is 'periods per season: the recipe''s, or the usual number of its frequency; null: not known';
comment on column registered_recipes.zone is 'zone in which people read its periods';
comment on column registered_recipes.period_zone is 'zone in which its periods are stored: UTC for hours and shorter, otherwise that of its local days';

comment on table zone_offsets is 'The distances from UTC of each zone that a recipe names.';
comment on column zone_offsets.zone is 'name in the tz database';
comment on column zone_offsets.starts_at is 'instant from which the distance counts, UTC';
comment on column zone_offsets.local_starts_at is 'first local time that belongs to it; of local times that occur twice it has the second ones';
comment on column zone_offsets.seconds is 'distance from UTC; above 0 east of it';

comment on table recipe_versions is 'Every definition that a recipe was run with.';
comment on column recipe_versions.recipe is 'recipe';
comment on column recipe_versions.fingerprint is 'hash of what in the definition changes numbers';
comment on column recipe_versions.definition is 'the whole recipe as JSON, as it was first run with this fingerprint';

comment on table alerts is 'Alerts about recipes that were sent; added to, never changed.';
comment on column alerts.alert_id is 'number';
comment on column alerts.recipe is 'recipe';
comment on column alerts.kind is 'stale, failed, refused, on hold, fallbacks, drift or outbox';
comment on column alerts.state is 'raised, or recovered: the reason was gone';
comment on column alerts.reason is 'what was the matter, in words';
comment on column alerts.sent_at is 'instant at which it was sent';

comment on table model_decisions is 'What was decided about a recipe''s model, and why; added to, never changed.';
comment on column model_decisions.decision_id is 'number';
comment on column model_decisions.recipe is 'recipe';
comment on column model_decisions.what is 'training: retrain, fine-tune or keep; promotion: does the challenger replace the champion';
comment on column model_decisions.kind is 'live or backfill';
comment on column model_decisions.outcome is 'retrain, fine-tune, keep; promoted, not promoted';
comment on column model_decisions.reason is 'why, in words';
comment on column model_decisions.model_version is 'model that it is about; null before the first';
comment on column model_decisions.as_of is 'instant up to which observations were known';
comment on column model_decisions.decided_at is 'instant of the decision';
comment on column model_decisions.facts is 'what it was decided from, as JSON';

comment on table sample_paths is 'Scenarios: values that may follow each other, drawn from the forecast of a run; added to, never changed.';
comment on column sample_paths.run_number is 'run that they are drawn from';
comment on column sample_paths.series_id is 'series';
comment on column sample_paths.path is 'number of the scenario, counted from 1';
comment on column sample_paths.step is 'periods after the origin, counted from 1';
comment on column sample_paths.value is 'value in the unit of the recipe';

comment on table series_variables is 'A series of a recipe, or a covariate of one.';
comment on column series_variables.series_id is 'number of the series, for ever';
comment on column series_variables.recipe is 'recipe that it belongs to';
comment on column series_variables.series is 'name as the source has it';
comment on column series_variables.variable is 'empty: what is forecast; otherwise the covariate, named like its column';

comment on table batches is 'One delivery of a source: accepted, refused, or on hold.';
comment on column batches.batch_id is 'number; within a recipe later batches have higher ones';
comment on column batches.recipe is 'recipe that it was read for';
comment on column batches.source is 'file or address that it came from, without secrets';
comment on column batches.content_hash is 'hash of what was delivered; empty where it could not be read';
comment on column batches.recorded_at is 'instant from which what it brought counts as known; ascends strictly within a recipe';
comment on column batches.status is 'accepted, refused, held (waits for a person) or released (a person let it in, as a later batch)';
comment on column batches.message is 'why it was refused or held; null if accepted';
comment on column batches.num_read is 'rows that were read';
comment on column batches.preview is 'what a held batch would change, as JSON; null: it was not held';
comment on column batches.expectation is 'what a person accepted of later deliveries, as JSON; null: the same as before';
comment on column batches.decision is 'rejected or withdrawn by a person; null: neither';
comment on column batches.decided_at is 'instant of that decision; null: there was none, or an earlier release did not keep it';
comment on column batches.num_new is 'first values of a series and period';
comment on column batches.num_revised is 'values that differ from what was known';
comment on column batches.num_same is 'values that were known already';
comment on column batches.num_rejected is 'rows that were refused';
comment on column batches.state is 'what the source left for its next reading, as JSON';
comment on column batches.first_period is 'first period of which it tells something new; null: of none';
comment on column batches.last_period is 'last period of which it tells something new; null: of none';
comment on column batches.known_at is 'instant since when the world knew what it brought, where the source says so; null: recorded_at';
comment on column batches.releases is 'batch on hold that this one accepts; null for most';

comment on table rejections is 'A row that was refused, or a whole file.';
comment on column rejections.rejection_id is 'number';
comment on column rejections.batch_id is 'batch that it was part of';
comment on column rejections.file is 'file of several that it was in; null: the batch''s source';
comment on column rejections.line is 'line in the file, the header being 1; null: the whole file';
comment on column rejections.column_name is 'column at fault; null: the whole row';
comment on column rejections.series is 'series that the row names; null: none, or unreadable';
comment on column rejections.period is 'period that the row names, UTC; null: none, or unreadable';
comment on column rejections.text is 'what stood there; null: nothing';
comment on column rejections.rule is 'rule that it broke';

comment on table observations is 'The first value of a series for a period; added to, never changed. Partitioned by period.';
comment on column observations.series_id is 'series that was observed; no foreign key, for speed: it is written with numbers just looked up';
comment on column observations.period is 'start of the period, UTC';
comment on column observations.value is 'value in the unit of the recipe, finite';
comment on column observations.batch_id is 'batch that reported it first; its recorded_at is when it became known';

comment on table observations_default is 'Observations of the periods that have no partition of their own.';

comment on table revisions is 'A later value for a period that was observed before; added to, never changed.';
comment on column revisions.series_id is 'series that was observed';
comment on column revisions.period is 'start of the period, UTC';
comment on column revisions.batch_id is 'batch that reported it; as of an instant the highest one counts';
comment on column revisions.value is 'value in the unit of the recipe, finite; null: the value was withdrawn, from then on the period is a gap';

comment on table older_versions is 'A value that was known before another one which was recorded first; added to, never changed.';
comment on column older_versions.series_id is 'series that was observed';
comment on column older_versions.period is 'start of the period, UTC';
comment on column older_versions.batch_id is 'batch that reported it; its known_at is earlier than that of a version in observations or revisions';
comment on column older_versions.value is 'value in the unit of the recipe, finite; null: withdrawn';

comment on table attributes is 'What a source says of a series as a whole; a change is a new row.';
comment on column attributes.series_id is 'series that it describes';
comment on column attributes.name is 'name of the attribute';
comment on column attributes.batch_id is 'batch that reported it; the highest one counts';
comment on column attributes.value is 'value, as text';

comment on table held_rows is 'Cleaned values of a held batch, until a person lets them in or another batch comes.';
comment on column held_rows.batch_id is 'batch that waits';
comment on column held_rows.part is 'counted from 0';
comment on column held_rows.content is 'a part of the values, as compressed NumPy arrays of numbers and text';

comment on table leases is 'Who trains a recipe now, so that it happens once.';
comment on column leases.recipe is 'recipe that is held';
comment on column leases.epoch is 'counts the takings: who was overtaken holds an old one';
comment on column leases.holder is 'process that holds it';
comment on column leases.expires_at is 'instant from which another process may take it';

comment on table models is 'A training that ended with a model.';
comment on column models.recipe is 'recipe that it forecasts';
comment on column models.model_version is 'counted from 1 within the recipe';
comment on column models.model_hash is 'sha256 of the manifest of its files';
comment on column models.training is 'retrain or fine-tune';
comment on column models.reason is 'why it was trained';
comment on column models.cutoff is 'last period that it was fitted on, UTC';
comment on column models.as_of is 'instant up to which observations were known to it';
comment on column models.data_hash is 'hash of those observations';
comment on column models.recipe_fingerprint is 'fingerprint of the recipe then';
comment on column models.training_fingerprint is 'hash of what in the recipe decides the training';
comment on column models.code_version is 'version of nextperiod that trained it';
comment on column models.record is 'losses, backtest and figures as JSON';
comment on column models.skill is '1 - MASE / MASE of the baseline, on the backtest: above 0 is better; null: no backtest was possible';
comment on column models.trained_at is 'instant of the training';
comment on column models.mlflow_run_id is 'run in MLflow that shows it; null until MLflow has followed';

comment on table backtest_errors is 'The errors of a model''s backtest for one series.';
comment on column backtest_errors.series_id is 'series';
comment on column backtest_errors.recipe is 'recipe of the model';
comment on column backtest_errors.model_version is 'model';
comment on column backtest_errors.num_scored is 'observations that were compared';
comment on column backtest_errors.mae is 'mean absolute error';
comment on column backtest_errors.rmse is 'root mean square error';
comment on column backtest_errors.mase is 'mean absolute scaled error; null: the history before has no scale';
comment on column backtest_errors.smape is 'symmetric mean absolute percentage error, 0 to 200';
comment on column backtest_errors.baseline is 'baseline that it is compared with';
comment on column backtest_errors.baseline_mae is 'mean absolute error of the baseline; null: it cannot forecast the series';
comment on column backtest_errors.baseline_mase is 'mean absolute scaled error of the baseline; null: there is none';

comment on table backtest_comparisons is 'A model''s backtest by series, as its report shows it: a large panel''s worst ones.';
comment on column backtest_comparisons.recipe is 'recipe of the model';
comment on column backtest_comparisons.model_version is 'model';
comment on column backtest_comparisons.comparison is 'JSON: the periods of the test part, and of each series errors, coverage and forecasts';

comment on table model_files is 'The files of a model: numbers and text, no code.';
comment on column model_files.recipe is 'recipe of the model';
comment on column model_files.model_version is 'version of the model';
comment on column model_files.name is 'name of the file';
comment on column model_files.content is 'its bytes; their hash is in the manifest';

comment on table runs is 'One publication of a recipe at an origin.';
comment on column runs.run_number is 'number of the run, which its forecasts repeat';
comment on column runs.run_id is 'name of the run';
comment on column runs.recipe is 'recipe that was forecast';
comment on column runs.kind is 'live, or backfill: made afterwards as of then, and never the latest';
comment on column runs.origin is 'last period that the forecasts use, UTC; step 1 is the period after it';
comment on column runs.as_of is 'instant up to which observations were known to it';
comment on column runs.status is 'staged (nobody sees it), published, or superseded by another run at the same origin';
comment on column runs.recorded_by is 'instant up to which observations had been recorded when it was made; null: as_of';
comment on column runs.data_hash is 'hash of the observations that it used';
comment on column runs.recipe_fingerprint is 'fingerprint of the recipe then';
comment on column runs.model_version is 'model that forecast; null: baselines, before there was a network';
comment on column runs.model_hash is 'sha256 of the manifest of its files; null: no model';
comment on column runs.code_version is 'version of nextperiod that forecast';
comment on column runs.num_series is 'series that it forecasts';
comment on column runs.num_fallback is 'of these, how many by a simpler method than the model';
comment on column runs.num_rows is 'forecasts that it holds; it cannot go out with another number';
comment on column runs.calibration is 'what its intervals were widened or narrowed by, as JSON; null: by nothing';
comment on column runs.content_hash is 'hash of all its forecasts';
comment on column runs.expected_next_by is 'instant from which it is stale unless another run was published';
comment on column runs.published_at is 'instant at which it went out; null while staged';
comment on column runs.superseded_by is 'run that took its place; null if none did';

comment on table forecasts is 'One step of one series of a run.';
comment on column forecasts.run_number is 'run that it is part of';
comment on column forecasts.series_id is 'series that is forecast';
comment on column forecasts.step is 'periods after the origin, counted from 1';
comment on column forecasts.mean is 'expected value in the unit of the recipe';
comment on column forecasts.lower_95 is 'quantile 0.025';
comment on column forecasts.lower_80 is 'quantile 0.1';
comment on column forecasts.median is 'quantile 0.5';
comment on column forecasts.upper_80 is 'quantile 0.9';
comment on column forecasts.upper_95 is 'quantile 0.975';
comment on column forecasts.baseline is 'what the recipe''s baseline says from the same origin; null: it was not kept when this run was made';

comment on table run_steps is 'The periods that a run forecasts.';
comment on column run_steps.run_number is 'run';
comment on column run_steps.step is 'periods after the origin, counted from 1';
comment on column run_steps.period is 'period that is forecast: its start, UTC';

comment on table run_series is 'The series that a run forecasts, and how.';
comment on column run_series.run_number is 'run';
comment on column run_series.series_id is 'series that is forecast';
comment on column run_series.method is 'lstm, or fallback: and the simpler method that stood in';
comment on column run_series.reason is 'why a fallback stood in, what the model did not know, or why the interval has the width of the baseline; null: none of them';
comment on column run_series.network_steps is 'how many of the first steps the model forecast although a simpler method stood in for the later ones';
comment on column run_series.volatility_group is 'which series have similar volatility: the base-2 logarithm of their seasonal change relative to their size; null: it was not kept';
comment on column run_series.interval_factor is 'what multiplies the factors of a typical series of the group in the calibration of the run; 0: it had no outcomes; null: it was not kept';
comment on column run_series.has_baseline_width is '1: the interval has the width of the baseline, around the median of the model';
comment on column run_series.scale is 'mean absolute seasonal difference over the last seasons up to the origin; 0: there is none; null: it was not kept';

comment on table scored is 'Up to where the forecasts of a recipe are scored.';
comment on column scored.recipe is 'recipe';
comment on column scored.kind is 'live or backfill: they are scored apart';
comment on column scored.batch_id is 'newest batch whose values are scored';

comment on table scores is 'How one step of a published forecast turned out, as of one value that was observed.';
comment on column scores.run_number is 'run that forecast it';
comment on column scores.series_id is 'series that was forecast';
comment on column scores.step is 'periods after the origin, counted from 1';
comment on column scores.as_of is 'recorded_at of the value that it is scored against, or known_at for a backfill; a revision gets a score of its own';
comment on column scores.observed is 'that value';
comment on column scores.error is 'mean - observed';
comment on column scores.median_error is 'median - observed; null: that of the mean, in runs of earlier releases';
comment on column scores.naive_error is 'baseline - observed; null: the baseline was not kept when this run was made';
comment on column scores.scale is 'that of the series when the run was made; null: it was not kept';
comment on column scores.inside_80 is '1: between lower_80 and upper_80, 0: outside';
comment on column scores.inside_95 is '1: between lower_95 and upper_95, 0: outside';

comment on table command_attempts is 'A command that was carried out, or tried.';
comment on column command_attempts.attempt_id is 'number; later ones are higher';
comment on column command_attempts.recipe is 'recipe that it was about';
comment on column command_attempts.command is 'run, ingest, train, forecast, score or backfill';
comment on column command_attempts.started_at is 'instant of its start';
comment on column command_attempts.finished_at is 'instant of its end; null: it runs, or was killed';
comment on column command_attempts.status is 'running, or how it ended';
comment on column command_attempts.error is 'its message in one line; null: none';

comment on table outbox is 'Entries for MLflow, pending or delivered.';
comment on column outbox.outbox_id is 'number, in the order of delivery';
comment on column outbox.recipe is 'recipe that it is about';
comment on column outbox.kind is 'training: show it; champion: let the alias follow';
comment on column outbox.reference is 'version of the model, and for a champion since which epoch';
comment on column outbox.tries is 'how often it failed';
comment on column outbox.last_error is 'how it failed last; null: it did not, or is done';
comment on column outbox.created_at is 'instant from which it waits';
comment on column outbox.done_at is 'instant at which MLflow had followed; null: it has not yet';

comment on view latest_forecasts is 'The newest published forecast of each series and period: one live run a recipe, never two mixed.';
comment on column latest_forecasts.recipe is 'name of the recipe';
comment on column latest_forecasts.series is 'name of the series';
comment on column latest_forecasts.period is 'period that is forecast: its start, UTC';
comment on column latest_forecasts.step is 'periods after the origin, counted from 1';
comment on column latest_forecasts.mean is 'expected value in the unit of the recipe';
comment on column latest_forecasts.lower_95 is 'quantile 0.025';
comment on column latest_forecasts.lower_80 is 'quantile 0.1';
comment on column latest_forecasts.median is 'quantile 0.5';
comment on column latest_forecasts.upper_80 is 'quantile 0.9';
comment on column latest_forecasts.upper_95 is 'quantile 0.975';
comment on column latest_forecasts.method is 'lstm, or fallback: and the simpler method that stood in';
comment on column latest_forecasts.reason is 'why a fallback stood in, what the model did not know, or why the interval has the width of the baseline; null: none of them';
comment on column latest_forecasts.model_version is 'model that forecast; null: baselines, before there was a network';
comment on column latest_forecasts.origin is 'last period that the forecast uses, UTC';
comment on column latest_forecasts.as_of is 'instant up to which observations were known to it';
comment on column latest_forecasts.published_at is 'instant at which it went out';
comment on column latest_forecasts.run_id is 'publication that it is part of';
comment on column latest_forecasts.period_at is 'instant at which the period begins; days and longer periods begin at midnight in the zone of the recipe';
comment on column latest_forecasts.period_local is 'the period in the zone of the recipe; days and longer periods are local as they are';

comment on view forecast_history is 'Every forecast ever published, superseded ones and backfills included.';
comment on column forecast_history.recipe is 'name of the recipe';
comment on column forecast_history.series is 'name of the series';
comment on column forecast_history.period is 'period that is forecast: its start, UTC';
comment on column forecast_history.step is 'periods after the origin, counted from 1';
comment on column forecast_history.mean is 'expected value in the unit of the recipe';
comment on column forecast_history.lower_95 is 'quantile 0.025';
comment on column forecast_history.lower_80 is 'quantile 0.1';
comment on column forecast_history.median is 'quantile 0.5';
comment on column forecast_history.upper_80 is 'quantile 0.9';
comment on column forecast_history.upper_95 is 'quantile 0.975';
comment on column forecast_history.method is 'lstm, or fallback: and the simpler method that stood in';
comment on column forecast_history.reason is 'why a fallback stood in, what the model did not know, or why the interval has the width of the baseline; null: none of them';
comment on column forecast_history.model_version is 'model that forecast; null: baselines, before there was a network';
comment on column forecast_history.origin is 'last period that the forecast uses, UTC';
comment on column forecast_history.as_of is 'instant up to which observations were known to it';
comment on column forecast_history.published_at is 'instant at which it went out';
comment on column forecast_history.run_id is 'publication that it is part of';
comment on column forecast_history.kind is 'live, or backfill: made afterwards as of then';
comment on column forecast_history.period_at is 'instant at which the period begins; days and longer periods begin at midnight in the zone of the recipe';
comment on column forecast_history.period_local is 'the period in the zone of the recipe; days and longer periods are local as they are';

comment on view current_observations is 'The newest value of each series and period.';
comment on column current_observations.recipe is 'name of the recipe';
comment on column current_observations.series is 'name of the series';
comment on column current_observations.period is 'start of the period, UTC';
comment on column current_observations.value is 'newest value in the unit of the recipe';
comment on column current_observations.recorded_at is 'instant since which this value is known; later than the first value''s if it was revised';
comment on column current_observations.period_at is 'instant at which the period begins; days and longer periods begin at midnight in the zone of the recipe';
comment on column current_observations.period_local is 'the period in the zone of the recipe; days and longer periods are local as they are';

comment on view forecast_accuracy is 'How good the live forecasts turned out to be, by model version, series and step.';
comment on column forecast_accuracy.recipe is 'name of the recipe';
comment on column forecast_accuracy.model_version is 'model that forecast; null: baselines, before there was a network';
comment on column forecast_accuracy.series is 'name of the series';
comment on column forecast_accuracy.step is 'periods after the origin, counted from 1';
comment on column forecast_accuracy.num_scored is 'forecasts whose period is observed by now';
comment on column forecast_accuracy.mae is 'mean absolute error of the median in the unit of the recipe';
comment on column forecast_accuracy.mase is 'mean of absolute errors of the median, each in units of the history''s mean absolute seasonal difference; null: no history is long enough';
comment on column forecast_accuracy.smape is 'symmetric mean absolute percentage error of the median, 0 to 200';
comment on column forecast_accuracy.bias is 'average of mean - observed in the unit of the recipe';
comment on column forecast_accuracy.coverage_80 is 'share observed between lower_80 and upper_80; 0.8 is right';
comment on column forecast_accuracy.coverage_95 is 'share observed between lower_95 and upper_95; 0.95 is right';
comment on column forecast_accuracy.skill is '1 - mae / mae of the baseline published beside the forecast: above 0 is better; null: nothing to compare with';

comment on view anomalies is 'Observations outside the 95 % interval that was published for them from the last origin before.';
comment on column anomalies.recipe is 'name of the recipe';
comment on column anomalies.series is 'name of the series';
comment on column anomalies.period is 'start of the period, UTC';
comment on column anomalies.value is 'what was observed';
comment on column anomalies.lower_95 is 'lower end of the interval';
comment on column anomalies.upper_95 is 'upper end of the interval';
comment on column anomalies.run_id is 'run that published the interval';
comment on column anomalies.period_at is 'instant at which the period begins; days and longer periods begin at midnight in the zone of the recipe';
comment on column anomalies.period_local is 'the period in the zone of the recipe; days and longer periods are local as they are';

comment on view recipe_status is 'One row a recipe: what is published, whether it is stale, and how the last attempt went.';
comment on column recipe_status.recipe is 'name of the recipe';
comment on column recipe_status.latest_origin is 'origin of the latest forecasts, UTC; null: nothing is published';
comment on column recipe_status.published_at is 'instant at which they went out; null: nothing is published';
comment on column recipe_status.expected_next_by is 'instant from which they are stale; null: nothing is published';
comment on column recipe_status.is_stale is 'whether that instant is past, or nothing is published';
comment on column recipe_status.num_series is 'series that they hold; null: nothing is published';
comment on column recipe_status.num_fallback is 'of these, how many by a simpler method than the model; null: nothing is published';
comment on column recipe_status.model_version is 'model that forecast; null: none did, or nothing is published';
comment on column recipe_status.model_age_days is 'days since its training; null: nothing is published';
comment on column recipe_status.last_attempt_at is 'instant at which the last command began; null: none did';
comment on column recipe_status.last_attempt_status is 'running, or how it ended; null: there was none';
comment on column recipe_status.last_error is 'its message in one line; null: none';

comment on view rejected_observations is 'Rows that were rejected, with the place and the rule; a row that is delivered again is listed once.';
comment on column rejected_observations.recipe is 'recipe that was read for';
comment on column rejected_observations.source is 'file or address that the row was in, without secrets';
comment on column rejected_observations.line is 'line in the file, the header being 1; null: the whole file';
comment on column rejected_observations.column_name is 'column at fault; null: the whole row';
comment on column rejected_observations.series is 'series that the row names; null: none, or unreadable';
comment on column rejected_observations.text is 'what stood there; null: nothing';
comment on column rejected_observations.rule is 'rule that it broke';
comment on column rejected_observations.rejected_at is 'instant at which it was first rejected';
comment on column rejected_observations.period is 'period that the row names, UTC; null: none, or unreadable';
comment on column rejected_observations.period_at is 'instant at which the period begins; days and longer periods begin at midnight in the zone of the recipe; null: as period';
comment on column rejected_observations.period_local is 'the period in the zone of the recipe; days and longer periods are local as they are; null: as period';

comment on view latest_paths is 'The sample paths of the newest published forecast: values that may follow each other.';
comment on column latest_paths.recipe is 'name of the recipe';
comment on column latest_paths.series is 'name of the series';
comment on column latest_paths.path is 'number of the scenario, counted from 1';
comment on column latest_paths.step is 'periods after the origin, counted from 1';
comment on column latest_paths.period is 'period that is forecast: its start, UTC';
comment on column latest_paths.value is 'value in the unit of the recipe';
comment on column latest_paths.origin is 'last period that the forecast uses, UTC';
comment on column latest_paths.run_id is 'publication that they are drawn from';
comment on column latest_paths.period_at is 'instant at which the period begins; days and longer periods begin at midnight in the zone of the recipe';
comment on column latest_paths.period_local is 'the period in the zone of the recipe; days and longer periods are local as they are';

comment on view inactive_series is 'Series that have ended: no value within the last periods, and no rows in the newest published forecast.';
comment on column inactive_series.recipe is 'name of the recipe';
comment on column inactive_series.series is 'name of the series';
comment on column inactive_series.last_period is 'last period with a value, UTC';
comment on column inactive_series.origin is 'origin of the newest published forecast, UTC';
comment on column inactive_series.run_id is 'run without it';

comment on view recipes is 'What each recipe forecasts, as it was last run.';
comment on column recipes.recipe is 'name of the recipe';
comment on column recipes.description is 'one line about it; null: none';
comment on column recipes.unit is 'unit of its values; null: the recipe names none';
comment on column recipes.frequency is 'pandas offset alias of its periods: MS, D, h …';
comment on column recipes.calendar is 'exchange or country whose sessions or business days are the periods; null: none';
comment on column recipes.zone is 'zone in which its periods are read; UTC where the recipe names none';
comment on column recipes.season_length is 'periods per season; null: not known before its next run';
comment on column recipes.horizon is 'periods that are forecast';
comment on column recipes.source_kind is 'csv, parquet, http, sql, prices …';
comment on column recipes.architecture is 'network';
comment on column recipes.training_policy is 'auto, retrain, fine-tune or keep';
comment on column recipes.baseline is 'method that a model has to beat; auto: the best one on the backtest';
comment on column recipes.minimum is 'least value that is published; null: no bound';
comment on column recipes.maximum is 'largest value that is published; null: no bound';
comment on column recipes.model_version is 'champion: the model that publishes; null: none';
comment on column recipes.fingerprint is 'hash of what in the recipe decides the job';

comment on view series is 'The series of each recipe: what its source says of them, whether they go on, and what was observed.';
comment on column series.recipe is 'name of the recipe';
comment on column series.series is 'name of the series';
comment on column series.attributes is 'static covariates by name, as JSON: attributes ->> ''region''';
comment on column series.is_active is 'false: it has ended, and is listed in inactive_series';
comment on column series.first_period is 'first period with a value, UTC; null: none';
comment on column series.last_period is 'last period with a value, UTC; null: none';
comment on column series.num_observations is 'periods with a value';

comment on view covariates is 'The newest value of each covariate by series and period; periods ahead included.';
comment on column covariates.recipe is 'name of the recipe';
comment on column covariates.series is 'name of the series';
comment on column covariates.covariate is 'column of the source that it is read from';
comment on column covariates.period is 'start of the period, UTC';
comment on column covariates.value is 'newest value';
comment on column covariates.recorded_at is 'instant since which this value is known';
comment on column covariates.period_at is 'instant at which the period begins; days and longer periods begin at midnight in the zone of the recipe';
comment on column covariates.period_local is 'the period in the zone of the recipe; days and longer periods are local as they are';

comment on view attempts is 'What ran when, how it ended, and with which error; consecutive attempts with nothing to do are one row.';
comment on column attempts.attempt_id is 'number; later ones are higher';
comment on column attempts.recipe is 'name of the recipe';
comment on column attempts.command is 'run, ingest, train, forecast, score or backfill';
comment on column attempts.started_at is 'instant of its start';
comment on column attempts.finished_at is 'instant of its end; null: it runs, or was killed';
comment on column attempts.status is 'running, or how it ended';
comment on column attempts.error is 'its message in one line; null: none';

comment on view decisions is 'What was decided about models by training policy and gate, and about batches and histories by people.';
comment on column decisions.recipe is 'name of the recipe';
comment on column decisions.decided_at is 'instant of the decision; null: an earlier release did not keep it';
comment on column decisions.what is 'training, promotion (the gate), batch or history';
comment on column decisions.outcome is 'retrain, fine-tune, keep; promoted (a new champion), not promoted; approved, rejected, withdrawn; reset';
comment on column decisions.reason is 'why; of a batch: why it was on hold; null: nobody gave one';
comment on column decisions.kind is 'live or backfill';
comment on column decisions.model_version is 'model that it is about; null: none';
comment on column decisions.batch_id is 'batch that it is about; null: none';
comment on column decisions.as_of is 'instant up to which observations were known; null: about a batch or a history';

comment on view model_history is 'Every model of each recipe: how it was trained, how good it was on the backtest, and when it was the champion.';
comment on column model_history.recipe is 'name of the recipe';
comment on column model_history.model_version is 'counted from 1 within the recipe';
comment on column model_history.training is 'retrain or fine-tune';
comment on column model_history.reason is 'why it was trained';
comment on column model_history.trained_at is 'instant of the training';
comment on column model_history.cutoff is 'last period that it was fitted on, UTC';
comment on column model_history.as_of is 'instant up to which observations were known to it';
comment on column model_history.skill is '1 - MASE / MASE of the baseline, on the backtest: above 0 is better; null: no backtest was possible';
comment on column model_history.is_champion is 'whether it publishes now';
comment on column model_history.promoted_at is 'instant since which it was the champion; null: it never was';
comment on column model_history.replaced_at is 'instant at which it stopped to be the champion; null: it never was, or is';
comment on column model_history.model_hash is 'sha256 of the manifest of its files';
comment on column model_history.mlflow_run_id is 'run in MLflow that shows it; null until MLflow has followed';
comment on column model_history.data_hash is 'hash of the observations';
comment on column model_history.recipe_fingerprint is 'fingerprint of the recipe then';
comment on column model_history.code_version is 'version of nextperiod that trained it';

comment on view backtest_by_series is 'The errors of each model''s backtest by series, beside those of its baseline; models of earlier releases have none.';
comment on column backtest_by_series.recipe is 'name of the recipe';
comment on column backtest_by_series.model_version is 'model that was judged';
comment on column backtest_by_series.series is 'name of the series';
comment on column backtest_by_series.num_scored is 'observations that were compared';
comment on column backtest_by_series.mae is 'mean absolute error in the unit of the recipe';
comment on column backtest_by_series.rmse is 'root mean square error in the unit of the recipe';
comment on column backtest_by_series.mase is 'mean absolute error in units of the history''s mean absolute seasonal difference; null: no history is long enough';
comment on column backtest_by_series.smape is 'symmetric mean absolute percentage error, 0 to 200';
comment on column backtest_by_series.baseline is 'method that it is compared with';
comment on column backtest_by_series.baseline_mae is 'mean absolute error of the baseline; null: it cannot forecast the series';
comment on column backtest_by_series.baseline_mase is 'mean absolute scaled error of the baseline; null: there is none';
comment on column backtest_by_series.skill is '1 - mase / baseline_mase: above 0 is better; null: nothing to compare with';
