-- The last values of series after a batch without revisions, and their revisions, in arrays; infinity: withdrawn.
-- With a period: all values after it, and so many up to it.
select
    wanted.series_id,
    observed.periods,
    observed.numbers,
    revised.periods,
    revised.numbers
from unnest(cast(:series_ids as bigint[])) as wanted (series_id)
cross join lateral (
    select
        array_agg(newest.period order by newest.period) as periods,
        array_agg(newest.value order by newest.period) as numbers,
        min(newest.period) as first
    from (
        select period, value
        from observations
        where series_id = wanted.series_id and batch_id <= cast(:batch_id as bigint)
          and period >= case when cast(:length as bigint) is null then '-infinity' else coalesce((
              select period
              from observations
              where series_id = wanted.series_id and batch_id <= cast(:batch_id as bigint)
                and period <= coalesce(cast(:since as timestamp), 'infinity')
              order by period desc
              limit 1 offset cast(:length as bigint) - 1
          ), '-infinity') end
    ) as newest
) as observed
cross join lateral (
    select
        array_agg(period order by batch_id) as periods,
        array_agg(coalesce(value, 'Infinity') order by batch_id) as numbers
    from revisions
    where series_id = wanted.series_id and period >= observed.first and batch_id <= cast(:batch_id as bigint)
) as revised
where observed.first is not null
