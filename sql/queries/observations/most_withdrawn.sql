-- How many withdrawals the series of a recipe with the most of them has; null: there are none.
select max(of_series.num_withdrawn) as num_withdrawn
from (
    select revisions.series_id, count(*) as num_withdrawn
    from revisions
    where revisions.value is null and revisions.series_id in (select series_id from series_variables where recipe = :recipe)
    group by revisions.series_id
) as of_series
