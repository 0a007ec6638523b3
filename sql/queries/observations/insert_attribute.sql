-- Insert an attribute of a series.
insert into attributes (series_id, name, batch_id, value) values (:series_id, :name, :batch_id, :value)
