-- Mean, quantiles and baseline of a run by series and step, in bytes, big end first.
select
    series_id,
    string_agg(
        float8send(mean) || float8send(lower_95) || float8send(lower_80)
        || float8send(median) || float8send(upper_80) || float8send(upper_95)
        || float8send(coalesce(baseline, 'NaN')),
        ''
    ) as numbers
from (
    select * from forecasts where run_number = :run_number order by series_id, step
) as in_order
group by series_id
