-- Insert a distance of a zone from UTC.
-- parameters: starts_at period, local_starts_at period
insert into zone_offsets (zone, starts_at, local_starts_at, seconds)
values (:zone, :starts_at, :local_starts_at, :seconds)
