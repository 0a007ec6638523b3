-- Read by the keys until the end of the transaction: the planner knows little of rows that have just come.
select set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true)
