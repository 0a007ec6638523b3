-- A period in the zone of the recipe. Days and longer periods are local as they are.
case when zones.zone = zones.period_zone then {period}
    else {period} + (
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.zone and offsets.starts_at <= {period}
        order by offsets.starts_at desc limit 1) * interval '1 second' end
