-- Delete the values of held batches: they were accepted, or another batch replaces them.
delete from held_rows where batch_id in (select batch_id from batches where recipe = :recipe)
