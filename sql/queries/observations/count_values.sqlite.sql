-- The number of observed periods of series.
select count(*) as num_values
from json_each(:series_ids) as wanted
cross join observations on observations.series_id = wanted.value
