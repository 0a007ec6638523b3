-- Insert or update the definition of a recipe; its fencing token and champion stay.
insert into recipes (recipe, definition, fingerprint)
values (:recipe, :definition, :fingerprint)
on conflict (recipe) do update set definition = excluded.definition, fingerprint = excluded.fingerprint
