#!/bin/sh
# Creates a database each for nextperiod, MLflow and Prefect, and the roles that log in to them.
# PostgreSQL's image runs it once, while the volume is empty.
set -eu

for file in "$WRITER_PASSWORD_FILE" "$CONSUMER_PASSWORD_FILE" "$MLFLOW_PASSWORD_FILE" "$PREFECT_PASSWORD_FILE"; do
  if ! [ -r "$file" ] || [ -z "$(cat "$file")" ]; then
    echo "databases: $file is missing or empty: expected a password; write the secret, remove the volume and start again" >&2
    exit 1
  fi
done

# psql reads the passwords itself: a list of processes does not show them
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\set writer `cat "$WRITER_PASSWORD_FILE"`
\set consumer `cat "$CONSUMER_PASSWORD_FILE"`
\set mlflow `cat "$MLFLOW_PASSWORD_FILE"`
\set prefect `cat "$PREFECT_PASSWORD_FILE"`

-- what these two may do follows from `nextperiod db roles`
create role nextperiod_writer login password :'writer';
create role nextperiod_consumer login password :'consumer';
create database nextperiod encoding 'UTF8' template template0;

create role mlflow login password :'mlflow';
create database mlflow owner mlflow encoding 'UTF8' template template0;
revoke all on database mlflow from public;

create role prefect login password :'prefect';
create database prefect owner prefect encoding 'UTF8' template template0;
revoke all on database prefect from public;
SQL
