-- Mark the run that was published at this origin as superseded.
-- parameters: origin period
update runs set status = 'superseded', superseded_by = :run_id
where recipe = :recipe and kind = :kind and origin = :origin and status = 'published'
