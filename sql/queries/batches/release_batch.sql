-- A person let a held batch in.
update batches set status = 'released' where batch_id = :batch_id and status = 'held'
