-- How likely it is that the next three periods together bring more than the last three observed ones: the share of paths.
with ahead as (
    select recipe, series, path, sum(value) as total
    from latest_paths
    where step <= 3
    group by recipe, series, path
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
