-- Mark a held batch as rejected by a person.
-- parameters: decided_at instant
update batches set status = 'refused', decision = 'rejected', decided_at = :decided_at where batch_id = :batch_id and status = 'held'
