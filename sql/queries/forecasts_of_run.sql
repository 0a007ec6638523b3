-- All rows of a run, by series and step.
select series.series, forecasts.* from forecasts
join series on series.series_id = forecasts.series_id
where forecasts.run_id = :run_id
order by series.series, forecasts.step
