-- The leases that have not expired, each with the start of its recipe's newest attempt that has not ended.
-- parameters: now_at instant
-- columns: expires_at instant, started_at instant
select
    leases.recipe,
    leases.holder,
    leases.expires_at,
    (
        select max(attempts.started_at)
        from command_attempts as attempts
        where attempts.recipe = leases.recipe and attempts.status = 'running'
    ) as started_at
from leases
where leases.expires_at > :now_at
order by leases.recipe
