-- What is expected of the next delivery beyond the usual: as the newest batch says that says anything.
select expectation from batches
where recipe = :recipe and status = 'accepted' and expectation is not null
order by batch_id desc limit 1
