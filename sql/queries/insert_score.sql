-- How one step of a published forecast turned out.
insert into scores (run_number, series_id, step, as_of, observed, error, naive_error, scale, inside_80, inside_95)
values (:run_number, :series_id, :step, :as_of, :observed, :error, :naive_error, :scale, :inside_80, :inside_95)
on conflict (run_number, series_id, step, as_of) do nothing
