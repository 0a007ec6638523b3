-- Insert the header of a batch; its number.
-- parameters: recorded_at instant, known_at instant
insert into batches
    (recipe, source, content_hash, state, releases, recorded_at, known_at, status, message,
     num_read, num_new, num_revised, num_same, num_rejected)
values
    (:recipe, :source, :content_hash, :state, :releases, :recorded_at, :known_at, :status, :message,
     :num_read, :num_new, :num_revised, :num_same, :num_rejected)
returning batch_id
