-- The periods of a run.
-- columns: period period
select period from run_steps where run_number = :run_number order by step
