-- A period in the zone of the recipe, as text like a period: a midnight is a date. Days and longer periods are local as they are.
case when zones.zone = zones.period_zone then {period}
    else rtrim(replace(strftime('%Y-%m-%d %H:%M:%S', {period}, (
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.zone and offsets.starts_at <= {period}
        order by offsets.starts_at desc limit 1) || ' seconds') || substr({period}, 20) || 'Z', ' 00:00:00Z', 'Z'), 'Z') end
