-- Insert one part of the values of a held batch.
insert into held_rows (batch_id, part, content) values (:batch_id, :part, :content)
