-- The values of a held batch, part by part.
select content from held_rows where batch_id = :batch_id order by part
