-- The numbers of a run by series, an array of the steps each.
select
    series_id,
    array_agg(mean) as mean,
    array_agg(lower_95) as lower_95,
    array_agg(lower_80) as lower_80,
    array_agg(median) as median,
    array_agg(upper_80) as upper_80,
    array_agg(upper_95) as upper_95
from (
    select * from forecasts where run_number = :run_number order by series_id, step
) as in_order
group by series_id
