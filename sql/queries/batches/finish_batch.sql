-- Write the counts of a batch and the first and last period with a new or revised value.
-- parameters: first_period period, last_period period, known_at instant
update batches
set num_read = :num_read, num_new = :num_new, num_revised = :num_revised, num_same = :num_same,
    num_rejected = :num_rejected, first_period = :first_period, last_period = :last_period, known_at = :known_at
where batch_id = :batch_id
