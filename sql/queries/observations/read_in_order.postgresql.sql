-- Read by the keys until the end of the transaction: the planner has no statistics about rows just inserted.
select set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true)
