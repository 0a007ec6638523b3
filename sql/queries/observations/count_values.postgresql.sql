-- The number of observed periods of series.
select count(*) as num_values from observations where series_id = any(cast(:series_ids as bigint[]))
