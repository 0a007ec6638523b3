-- Every version of a variable's values that was known at one instant and recorded by another, the newest known last.
-- parameters: as_of instant, recorded_by instant
-- columns: period period, known_at instant
select series_id, period, value, known_at
from (
    select series.series_id, observations.period, observations.value, observations.batch_id,
        coalesce(batches.known_at, batches.recorded_at) as known_at, batches.recorded_at
    from series_variables as series
    join observations on observations.series_id = series.series_id
    join batches on batches.batch_id = observations.batch_id
    where series.recipe = :recipe and series.variable = coalesce(:variable, series.variable)
      and series.series_id between :first and :last
    union all
    select series.series_id, revisions.period, revisions.value, revisions.batch_id,
        coalesce(batches.known_at, batches.recorded_at), batches.recorded_at
    from series_variables as series
    join revisions on revisions.series_id = series.series_id
    join batches on batches.batch_id = revisions.batch_id
    where series.recipe = :recipe and series.variable = coalesce(:variable, series.variable)
      and series.series_id between :first and :last
    union all
    select series.series_id, older_versions.period, older_versions.value, older_versions.batch_id,
        coalesce(batches.known_at, batches.recorded_at), batches.recorded_at
    from series_variables as series
    join older_versions on older_versions.series_id = series.series_id
    join batches on batches.batch_id = older_versions.batch_id
    where series.recipe = :recipe and series.variable = coalesce(:variable, series.variable)
      and series.series_id between :first and :last
) as versions
where known_at <= :as_of and recorded_at <= :recorded_by
order by series_id, period, known_at, batch_id
