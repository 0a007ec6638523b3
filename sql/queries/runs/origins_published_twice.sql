-- Origins of a recipe at which more than one run is published.
-- columns: origin period
select recipe, kind, origin, count(*) as found
from runs
where status = 'published'
group by recipe, kind, origin
having count(*) > 1
