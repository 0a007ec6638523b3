-- Make series known; their numbers are for ever.
insert into series (recipe, series, variable)
select :recipe, json_extract(value, '$.series'), json_extract(value, '$.variable')
from json_each(:names)
where true
on conflict (recipe, series, variable) do nothing
