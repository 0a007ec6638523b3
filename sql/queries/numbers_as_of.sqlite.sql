-- The numbers alone of series whose periods are known, as they were first told up to a batch.
select observations.value
from json_each(:series_ids) as wanted
cross join observations on observations.series_id = wanted.value
where observations.batch_id <= :batch_id
