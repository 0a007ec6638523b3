-- Mark a held batch as approved by a person.
update batches set status = 'released' where batch_id = :batch_id and status = 'held'
