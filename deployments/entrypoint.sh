#!/bin/sh
# Starts a command of the image with the password of its database, from the file that PGPASSWORD_FILE names.
# The drivers of nextperiod, MLflow and Prefect all read PGPASSWORD, so that no address holds a password.
set -eu

if [ -n "${PGPASSWORD_FILE:-}" ]; then
  if ! [ -r "$PGPASSWORD_FILE" ]; then
    echo "entrypoint: PGPASSWORD_FILE names $PGPASSWORD_FILE, which user $(id -u) cannot read: expected a file with the password; make the secret, or let others read it" >&2
    exit 1
  fi
  PGPASSWORD=$(cat "$PGPASSWORD_FILE")
  if [ -z "$PGPASSWORD" ]; then
    echo "entrypoint: $PGPASSWORD_FILE is empty: expected a password; write the secret again" >&2
    exit 1
  fi
  export PGPASSWORD
fi
export PWD # a schedule names the folder that it was deployed from
exec "$@"
