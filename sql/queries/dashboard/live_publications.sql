-- The newest publications of a recipe's live forecasts, the newest first; at one origin, superseded ones come later.
-- columns: origin period, published_at instant
select run_number, run_id, status, origin, published_at, model_version, num_series, num_rows
from runs
where recipe = :recipe and kind = 'live' and status in ('published', 'superseded')
order by origin desc, run_number desc
limit :most
