-- Make series known; their numbers are for ever.
insert into series (recipe, series, variable)
select :recipe, told.series, told.variable
from json_to_recordset(cast(:names as json)) as told (series text, variable text)
on conflict (recipe, series, variable) do nothing
