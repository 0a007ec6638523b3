#!/bin/sh
# Deploys every schedule of the prefect.yaml of this folder, and the automations if there is an address for alerts; a second time
# it changes what has changed.
set -eu

prefect work-pool inspect forecasting >/dev/null 2>&1 || prefect work-pool create forecasting --type process

# The image has the wheel, whose packages are in `nextperiod`. A folder that a clone wrote names those of the clone.
schedules=$(mktemp)
sed -e 's/entrypoint: flows\./entrypoint: nextperiod.flows./' \
  -e 's/EXTRA_LOGGERS: pipeline,flows/EXTRA_LOGGERS: nextperiod.pipeline,nextperiod.flows/' prefect.yaml > "$schedules"
prefect --no-prompt deploy --all --prefect-file "$schedules"
[ -z "${NEXTPERIOD_ALERTS:-}" ] || nextperiod automations
