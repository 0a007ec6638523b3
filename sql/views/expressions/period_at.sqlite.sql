-- The instant at which a period begins, as text like other instants; days and longer periods begin at local midnight.
case when zones.period_zone = 'UTC' then {period} || substr(' 00:00:00.000000', length({period}) - 9) || '+00:00'
    else strftime('%Y-%m-%d %H:%M:%S', {period}, -(
        select offsets.seconds from zone_offsets as offsets
        where offsets.zone = zones.period_zone and offsets.local_starts_at <= {period}
        order by offsets.local_starts_at desc limit 1) || ' seconds') || '.000000+00:00' end
