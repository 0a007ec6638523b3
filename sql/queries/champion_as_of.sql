-- The newest model whose data were known at an instant.
select * from models
where recipe = :recipe and as_of <= :as_of
order by model_version desc limit 1
