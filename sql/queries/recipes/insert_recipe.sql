-- Insert or update the definition of a recipe; its fencing token and champion stay.
insert into registered_recipes (recipe, definition, fingerprint, season_length, zone, period_zone)
values (:recipe, :definition, :fingerprint, :season_length, :zone, :period_zone)
on conflict (recipe) do update
set definition = excluded.definition, fingerprint = excluded.fingerprint, season_length = excluded.season_length,
    zone = excluded.zone, period_zone = excluded.period_zone
