-- A recipe's forecasts are scored up to a batch, unless the mark was moved meanwhile.
insert into scored (recipe, kind, batch_id) values (:recipe, :kind, :through)
on conflict (recipe, kind) do update set batch_id = excluded.batch_id
where scored.batch_id = :since
