-- Lock a run that is still staged until the end of the transaction.
update runs set status = status where run_number = :run_number and status = 'staged'
returning run_number
