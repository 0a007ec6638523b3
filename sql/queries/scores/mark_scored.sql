-- Record up to which batch a recipe's forecasts are scored, unless it was changed meanwhile.
insert into scored (recipe, kind, batch_id) values (:recipe, :kind, :through)
on conflict (recipe, kind) do update set batch_id = excluded.batch_id
where scored.batch_id = :since
