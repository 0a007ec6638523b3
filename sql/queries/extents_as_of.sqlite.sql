-- How many values series have and from where to where, as they were first told up to a batch.
select observations.series_id, min(observations.period), max(observations.period), count(*)
from json_each(:series_ids) as wanted
cross join observations on observations.series_id = wanted.value
where observations.batch_id <= :batch_id
group by observations.series_id
