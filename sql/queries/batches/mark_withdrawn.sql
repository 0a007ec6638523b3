-- Mark an accepted batch as withdrawn by a person.
update batches set decision = 'withdrawn' where batch_id = :batch_id and status = 'accepted'
