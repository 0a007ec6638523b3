-- What each role may do with what the store has now; nothing happens where `nextperiod db roles` was never carried out.
-- Carried out as the owner, by `db roles` and after every upgrade: new tables and remade views get their grants here.
do $$
declare
  thing record;
begin
  if not exists (
      select 1 from pg_class where oid = 'schema_version'::regclass and relowner = to_regrole('nextperiod_owner')
  ) then
    return;
  end if;

  for thing in
    select
        oid::regclass as name,
        case relkind when 'S' then 'sequence' else 'table' end as kind,
        case relkind when 'S' then 'usage' when 'v' then 'select' else 'select, insert' end as rights,
        relispartition
    from pg_class
    where relnamespace = current_schema()::regnamespace
      and relowner = 'nextperiod_owner'::regrole
      and relkind in ('r', 'p', 'v', 'S')
  loop
    execute format('revoke all on %s %s from public, nextperiod_migrator, nextperiod_writer, nextperiod_consumer', thing.kind, thing.name);
    -- rows get into a partition through its table alone
    if not thing.relispartition then
      execute format('grant %s on %s %s to nextperiod_writer', thing.rights, thing.kind, thing.name);
    end if;
  end loop;

  for thing in
    select oid::regprocedure as name
    from pg_proc
    where pronamespace = current_schema()::regnamespace and proowner = 'nextperiod_owner'::regrole
  loop
    execute format('revoke all on function %s from public', thing.name);
  end loop;

  revoke insert on schema_version from nextperiod_writer;
  grant select on schema_version to nextperiod_migrator;

  -- what our own statements change and delete; history is only added to
  grant update on command_attempts, batches, leases, models, outbox, registered_recipes, runs, scored to nextperiod_writer;
  grant delete on command_attempts, forecasts, held_rows, run_series, run_steps, runs, zone_offsets to nextperiod_writer;

  grant select on
      latest_forecasts, forecast_history, current_observations, forecast_accuracy, anomalies, recipe_status,
      rejected_observations, latest_paths, inactive_series, recipes, series, covariates, attempts, decisions, model_history,
      backtest_by_series
  to nextperiod_consumer;

  -- no condition of a reader's is tried on staged rows, where its error would show them
  alter view latest_forecasts set (security_barrier);
  alter view latest_paths set (security_barrier);
  alter view forecast_history set (security_barrier);
  alter view anomalies set (security_barrier);
end $$;
