-- What somebody was told of and not yet that it was gone, the newest reason of each kind.
select alerts.recipe, alerts.kind, alerts.reason
from alerts
where alerts.state = 'raised'
  and alerts.alert_id = (
      select max(newest.alert_id)
      from alerts as newest
      where newest.recipe = alerts.recipe and newest.kind = alerts.kind
  )
order by alerts.recipe, alerts.kind
