-- How many values that were observed up to a batch were revised later, and of how many series.
select count(*) as num_revised, count(distinct revised.series) as num_series
from (
    select distinct series.series, series.variable, observations.period
    from series_variables as series
    join revisions on revisions.series_id = series.series_id and revisions.batch_id > :batch_id
    join observations
      on observations.series_id = revisions.series_id
     and observations.period = revisions.period
     and observations.batch_id <= :batch_id
    where series.recipe = :recipe
) as revised
