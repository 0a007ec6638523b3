-- The recipe as it is now; its epoch and champion stay.
insert into recipes (recipe, definition, fingerprint)
values (:recipe, :definition, :fingerprint)
on conflict (recipe) do update set definition = excluded.definition, fingerprint = excluded.fingerprint
