-- Published runs that forecast any of these periods, oldest first.
-- parameters: first_period period, last_period period
select run_number from runs
where recipe = :recipe and kind = :kind and status in ('published', 'superseded') and origin < :last_period
  and exists (
      select 1 from run_steps
      where run_steps.run_number = runs.run_number and run_steps.period between :first_period and :last_period
  )
order by run_number
