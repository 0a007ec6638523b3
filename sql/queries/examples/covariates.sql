-- What is known ahead: the values of covariates after the last observation of their series.
select covariates.recipe, covariates.series, covariates.covariate, covariates.period, covariates.value
from covariates
join series on series.recipe = covariates.recipe and series.series = covariates.series
where covariates.period > series.last_period
order by covariates.recipe, covariates.series, covariates.covariate, covariates.period
