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
)
