-- The instant at which a period begins; days and longer periods begin at local midnight.
case when zones.period_zone = 'UTC' then {period} at time zone 'UTC'
    else ({period} - (
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.period_zone and offsets.local_starts_at <= {period}
        order by offsets.local_starts_at desc limit 1) * interval '1 second') at time zone 'UTC' end
