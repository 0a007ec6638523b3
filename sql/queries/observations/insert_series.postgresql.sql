-- Add series that are not stored yet; their ids never change.
insert into series_variables (recipe, series, variable)
select :recipe, wanted.series, wanted.variable
from json_to_recordset(cast(:names as json)) as wanted (series text, variable text)
on conflict (recipe, series, variable) do nothing
