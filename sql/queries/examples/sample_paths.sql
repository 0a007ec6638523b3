-- How likely it is that the next three periods together bring more than the last three observed ones: the share of paths.
with ahead as (
    select runs.recipe, series.series, sample_paths.path, sum(sample_paths.value) as total
    from sample_paths
    join runs on runs.run_number = sample_paths.run_number
    join series on series.series_id = sample_paths.series_id
    where sample_paths.step <= 3
      and runs.run_id in (select run_id from latest_forecasts)
    group by runs.recipe, series.series, sample_paths.path
),
counted as (
    select recipe, series, value, row_number() over (partition by recipe, series order by period desc) as periods_ago
    from current_observations
),
behind as (
    select recipe, series, sum(value) as total
    from counted
    where periods_ago <= 3
    group by recipe, series
)
select
    ahead.recipe,
    ahead.series,
    count(*) as num_paths,
    behind.total as last_three,
    avg(ahead.total) as next_three,
    avg(cast(case when ahead.total > behind.total then 1 else 0 end as double precision)) as probability
from ahead
join behind on behind.recipe = ahead.recipe and behind.series = ahead.series
group by ahead.recipe, ahead.series, behind.total
order by ahead.recipe, ahead.series
