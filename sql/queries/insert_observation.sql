-- What a source said about one series and period at one instant.
insert into observations (series_id, period, recorded_at, value, batch_id)
values (:series_id, :period, :recorded_at, :value, :batch_id)
