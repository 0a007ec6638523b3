-- A batch that waits no longer needs no copy of its values.
delete from held_rows where batch_id in (select batch_id from batches where recipe = :recipe and status <> 'held')
