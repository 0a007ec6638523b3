-- The attributes of a recipe's series as they were known after a batch.
select attributes.series_id, series.series, attributes.name, attributes.value
from series
join attributes on attributes.series_id = series.series_id
where series.recipe = :recipe
  and attributes.batch_id = (
      select max(known.batch_id)
      from attributes as known
      where known.series_id = attributes.series_id and known.name = attributes.name and known.batch_id <= :batch_id
  )
order by series.series, attributes.name
