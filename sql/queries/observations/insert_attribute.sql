-- What a source said of a series that has no period.
insert into attributes (series_id, name, batch_id, value) values (:series_id, :name, :batch_id, :value)
