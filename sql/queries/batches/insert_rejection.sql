-- A refused row, or the file as a whole.
insert into rejections (batch_id, file, line, column_name, series, text, rule)
values (:batch_id, :file, :line, :column_name, :series, :text, :rule)
