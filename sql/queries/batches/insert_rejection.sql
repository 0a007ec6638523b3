-- Insert a rejected row, or a rejected file.
-- parameters: period period
insert into rejections (batch_id, file, line, column_name, series, period, text, rule)
values (:batch_id, :file, :line, :column_name, :series, :period, :text, :rule)
