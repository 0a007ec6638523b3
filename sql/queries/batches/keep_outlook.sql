-- Keep what a held batch would change, and what is expected of later deliveries once a batch is accepted.
update batches set preview = :preview, expectation = :expectation where batch_id = :batch_id
