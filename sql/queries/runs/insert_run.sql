-- Insert a staged run, which no view shows; its number.
-- parameters: as_of instant, recorded_by instant, expected_next_by instant, origin period
insert into runs
    (run_id, recipe, kind, origin, as_of, recorded_by, status, data_hash, recipe_fingerprint, model_version, model_hash,
     code_version, num_series, num_fallback, num_rows, content_hash, expected_next_by, calibration)
values
    (:run_id, :recipe, :kind, :origin, :as_of, :recorded_by, 'staged', :data_hash, :recipe_fingerprint, :model_version, :model_hash,
     :code_version, :num_series, :num_fallback, :num_rows, :content_hash, :expected_next_by, :calibration)
returning run_number
