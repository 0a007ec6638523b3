-- Mark an accepted batch as withdrawn by a person.
-- parameters: decided_at instant
update batches set decision = 'withdrawn', decided_at = :decided_at where batch_id = :batch_id and status = 'accepted'
