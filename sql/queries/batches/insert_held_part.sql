-- Some of the values of a batch that waits for a person.
insert into held_rows (batch_id, part, content) values (:batch_id, :part, :content)
