-- The runs that a run superseded, oldest first.
select run_id from runs where superseded_by = :run_id order by published_at, run_id
