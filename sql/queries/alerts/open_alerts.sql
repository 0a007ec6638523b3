-- The alerts that were raised and have not recovered, of each recipe and kind the newest.
select alerts.recipe, alerts.kind, alerts.reason
from alerts
where alerts.state = 'raised'
  and alerts.alert_id = (
      select max(newest.alert_id)
      from alerts as newest
      where newest.recipe = alerts.recipe and newest.kind = alerts.kind
  )
order by alerts.recipe, alerts.kind
