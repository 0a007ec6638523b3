-- Insert a rejected row, or a rejected file.
insert into rejections (batch_id, file, line, column_name, series, text, rule)
values (:batch_id, :file, :line, :column_name, :series, :text, :rule)
