-- Record that somebody was told about a recipe.
-- parameters: sent_at instant
insert into alerts (recipe, kind, state, reason, sent_at)
values (:recipe, :kind, :state, :reason, :sent_at)
