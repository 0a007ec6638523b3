-- A refused row, or the file as a whole.
insert into rejections (batch_id, line, column_name, series, text, rule)
values (:batch_id, :line, :column_name, :series, :text, :rule)
