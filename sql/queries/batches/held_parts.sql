-- The values of a batch that waits for a person.
select content from held_rows where batch_id = :batch_id order by part
