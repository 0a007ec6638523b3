-- The model of the newest data that were known at an instant; of several the one trained last.
select * from models
where recipe = :recipe and as_of <= :as_of
order by as_of desc, model_version desc limit 1
