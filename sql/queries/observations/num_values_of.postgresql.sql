-- How many values of how many periods series have.
select count(*) as num_values from observations where series_id = any(cast(:series_ids as bigint[]))
