-- Add series that are not stored yet; their ids never change.
insert into series_variables (recipe, series, variable)
select :recipe, json_extract(value, '$.series'), json_extract(value, '$.variable')
from json_each(:names)
where true
on conflict (recipe, series, variable) do nothing
