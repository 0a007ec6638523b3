-- The series of each recipe: what its source says of them, whether they go on, and what was observed.
create view series as
select
    series.recipe,
    series.series,
    (
        select coalesce(jsonb_object_agg(attributes.name, attributes.value), '{}')
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
group by series.series_id, series.recipe, series.series
