-- The attributes of a recipe's series after a batch.
select attributes.series_id, series.series, attributes.name, attributes.value
from series_variables as series
join attributes on attributes.series_id = series.series_id
where series.recipe = :recipe
  and attributes.batch_id = (
      select max(newest.batch_id)
      from attributes as newest
      where newest.series_id = attributes.series_id and newest.name = attributes.name and newest.batch_id <= :batch_id
  )
order by series.series, attributes.name
