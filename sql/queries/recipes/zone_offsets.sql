-- The distances of a zone from UTC that are stored, in order of time.
-- columns: starts_at period, local_starts_at period
select starts_at, local_starts_at, seconds from zone_offsets where zone = :zone order by starts_at
