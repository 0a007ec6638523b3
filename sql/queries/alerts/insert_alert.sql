-- Record that an alert about a recipe was sent.
-- parameters: sent_at instant
insert into alerts (recipe, kind, state, reason, sent_at)
values (:recipe, :kind, :state, :reason, :sent_at)
