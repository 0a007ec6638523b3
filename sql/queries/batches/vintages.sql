-- Batches with new or revised values, ascending, each with the newest period that it observed first.
-- columns: recorded_at instant, period period
select
    batches.recorded_at,
    observed.period
from batches
left join (
    select observations.batch_id, max(observations.period) as period
    from series
    join observations on observations.series_id = series.series_id
    where series.recipe = :recipe and series.variable = ''
    group by observations.batch_id
) as observed on observed.batch_id = batches.batch_id
where batches.recipe = :recipe and batches.status = 'accepted' and batches.num_new + batches.num_revised > 0
order by batches.recorded_at
