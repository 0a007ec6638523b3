-- Let no other process send alerts until the end of the transaction.
select pg_advisory_xact_lock(hashtext('nextperiod alerts'))
