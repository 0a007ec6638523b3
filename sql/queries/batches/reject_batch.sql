-- Mark a held batch as rejected by a person.
update batches set status = 'refused', decision = 'rejected' where batch_id = :batch_id and status = 'held'
