-- The last values of series after a batch, then the revisions of these periods; infinity: withdrawn.
-- With a period: all values after it, and so many up to it.
with wanted (series_id, since) as materialized (
    select
        value,
        case when :length is null then '' else coalesce((
            select period
            from observations
            where series_id = json_each.value and batch_id <= :batch_id
              and period <= coalesce(:since, 'later than any')
            order by period desc
            limit 1 offset :length - 1
        ), '') end
    from json_each(:series_ids)
)
select observations.series_id, observations.period, observations.value
from wanted
cross join observations on observations.series_id = wanted.series_id
where observations.period >= wanted.since and observations.batch_id <= :batch_id
union all
select series_id, period, value from (
    select revisions.series_id, revisions.period, coalesce(revisions.value, 9e999) as value
    from wanted
    cross join revisions on revisions.series_id = wanted.series_id
    where revisions.period >= wanted.since and revisions.batch_id <= :batch_id
    order by revisions.batch_id
)
