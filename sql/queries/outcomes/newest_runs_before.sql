-- The newest published runs before an origin by models with the same training settings, and their calibration.
-- parameters: origin period
-- columns: origin period
select newest.run_number, newest.origin, newest.calibration
from (
    select run_number, recipe, model_version, origin, calibration
    from runs
    where recipe = :recipe and kind = :kind and status = 'published' and origin < :origin
    order by origin desc
    limit :num_origins
) as newest
join models on models.recipe = newest.recipe and models.model_version = newest.model_version
where models.training_fingerprint = :training_fingerprint
