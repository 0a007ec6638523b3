-- Delete the distances of a zone from UTC.
delete from zone_offsets where zone = :zone
