-- What waited is let in, or something better came: nobody needs its values any more.
delete from held_rows where batch_id in (select batch_id from batches where recipe = :recipe)
