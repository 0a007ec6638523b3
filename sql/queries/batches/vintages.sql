-- Instants since when new or revised values are known, ascending, each with the newest period that it tells of.
-- columns: known_at instant, period period
select
    coalesce(batches.known_at, batches.recorded_at) as known_at,
    max(known.period) as period
from batches
left join (
    select observations.batch_id, max(observations.period) as period
    from series_variables as series
    join observations on observations.series_id = series.series_id
    where series.recipe = :recipe and series.variable = ''
    group by observations.batch_id
    union all
    select older_versions.batch_id, max(older_versions.period) as period
    from series_variables as series
    join older_versions on older_versions.series_id = series.series_id
    where series.recipe = :recipe and series.variable = ''
    group by older_versions.batch_id
) as known on known.batch_id = batches.batch_id
where batches.recipe = :recipe and batches.status = 'accepted' and batches.num_new + batches.num_revised > 0
group by coalesce(batches.known_at, batches.recorded_at)
order by known_at
