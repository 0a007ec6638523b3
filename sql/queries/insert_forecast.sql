-- One step of one series of a staged run.
insert into forecasts
    (run_id, series_id, step, period, mean, lower_95, lower_80, median, upper_80, upper_95, method, reason)
values
    (:run_id, :series_id, :step, :period, :mean, :lower_95, :lower_80, :median, :upper_80, :upper_95, :method, :reason)
