-- Lease a recipe for a training, unless another worker holds it; each lease increments the fencing token.
-- parameters: expires_at instant, now_at instant
insert into leases (recipe, epoch, holder, expires_at)
values (:recipe, 1, :holder, :expires_at)
on conflict (recipe) do update
set epoch = leases.epoch + 1, holder = excluded.holder, expires_at = excluded.expires_at
where leases.expires_at <= :now_at or leases.holder = :dead_holder
returning epoch
