-- Record that an alert about a recipe is sent, unless the newest one of its kind has the same state: then it was sent.
-- parameters: sent_at instant
insert into alerts (recipe, kind, state, reason, sent_at)
select :recipe, :kind, :state, :reason, :sent_at
where :state <> coalesce(
    (
        select newest.state
        from alerts as newest
        where newest.recipe = :recipe and newest.kind = :kind
        order by newest.alert_id desc
        limit 1
    ),
    'recovered'
)
