-- The planner knows nothing of rows that this transaction wrote and would sort what the key has in order.
set local enable_bitmapscan = off
