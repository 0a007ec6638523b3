-- Mark the run that was published at this origin as superseded, and after a reset every live run from before it.
-- parameters: origin period
update runs set status = 'superseded', superseded_by = :run_id
where recipe = :recipe and kind = :kind and status = 'published'
  and (
      origin = :origin
      or kind = 'live' and published_at < (
          select max(recorded_at) from batches
          where batches.recipe = runs.recipe and batches.source = 'reset' and batches.status = 'accepted'
      )
  )
