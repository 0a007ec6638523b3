-- The four roles of a store, and the store handed over to its owner: `nextperiod db roles` carries it out.
-- Safe to repeat, also where another database of the same server has made the roles. It sets no password.
-- Needs createrole, and to own the database, the schema and the tables.
do $$
begin
  if not exists (
      select 1
      from pg_roles as person
      join pg_database on pg_database.datname = current_database()
      join pg_namespace on pg_namespace.nspname = current_schema()
      join pg_class on pg_class.oid = to_regclass('schema_version')
      where person.rolname = current_user
        and (person.rolsuper or person.rolcreaterole
             and pg_has_role(pg_database.datdba, 'usage')
             and pg_has_role(pg_namespace.nspowner, 'usage')
             and pg_has_role(pg_class.relowner, 'usage'))
  ) then
    raise exception using
      errcode = 'insufficient_privilege',
      message = format(
          'to make the roles, %I needs createrole and to own database %I with its tables, or to be a superuser',
          current_user, current_database());
  end if;
end $$;

do $$
declare
  wanted text;
begin
  foreach wanted in array array['owner', 'migrator', 'writer', 'consumer'] loop
    begin
      execute format('create role nextperiod_%s', wanted);
    exception when duplicate_object or unique_violation then
      null;
    end;
  end loop;
  -- who is no superuser gives away what is its own, and repeats this later, as a member of the owner
  if not (select rolsuper from pg_roles where rolname = current_user) then
    execute format('grant nextperiod_owner to %I', current_user);
  end if;
end $$;

alter role nextperiod_owner nologin;
alter role nextperiod_migrator login noinherit;
alter role nextperiod_writer login;
alter role nextperiod_consumer login;
grant nextperiod_owner to nextperiod_migrator;

-- defaults against what is forgotten: a session may set them anew, and gains no right by it
alter role nextperiod_writer set lock_timeout = '30s';
alter role nextperiod_writer set idle_in_transaction_session_timeout = '10min';
alter role nextperiod_consumer set default_transaction_read_only = on;
alter role nextperiod_consumer set statement_timeout = '30s';
alter role nextperiod_consumer set idle_in_transaction_session_timeout = '60s';

-- The database is the store's own, as MLflow's and Prefect's are theirs: no other role of the server connects to it.
-- Temporary tables are for who loads rows; who only reads views makes nothing at all.
do $$
begin
  execute format('revoke all on database %I from public', current_database());
  execute format('revoke all on schema %I from public', current_schema());
  execute format(
      'grant connect, temporary on database %I to nextperiod_owner, nextperiod_migrator, nextperiod_writer',
      current_database());
  execute format('grant connect on database %I to nextperiod_consumer', current_database());
  execute format('grant usage, create on schema %I to nextperiod_owner', current_schema());
  execute format('grant usage on schema %I to nextperiod_migrator, nextperiod_writer, nextperiod_consumer', current_schema());
end $$;

-- What belongs to who made the store, partitions made by hand among it. Sequences of columns go with their table;
-- what an extension brought stays where it is.
do $$
declare
  maker constant oid := (select relowner from pg_class where oid = 'schema_version'::regclass);
  thing text;
begin
  for thing in
    select format('table %s', pg_class.oid::regclass)
    from pg_class
    where pg_class.relnamespace = current_schema()::regnamespace
      and pg_class.relowner = maker
      and pg_class.relkind in ('r', 'p', 'v')
      and not exists (select 1 from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e')
    union all
    select format('function %s', pg_proc.oid::regprocedure)
    from pg_proc
    where pg_proc.pronamespace = current_schema()::regnamespace
      and pg_proc.proowner = maker
      and not exists (select 1 from pg_depend where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e')
  loop
    execute format('alter %s owner to nextperiod_owner', thing);
  end loop;
end $$;
