#!/bin/sh
# Make the secrets that compose.yaml names, in secrets/ beside this script. One that exists is left as it is.
# Containers read these files as other users than yours: the files are readable, and the folder is closed.
set -eu

folder=$(cd "$(dirname "$0")" && pwd)/secrets
umask 022
mkdir -p "$folder"
chmod 0700 "$folder"

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
keep() { [ -s "$folder/$1" ] || printf %s "$2" >"$folder/$1"; }

for name in redis_password mongo_password mariadb_password s3_password grafana_password; do
    keep "$name" "$(random)"
done
keep mongo_login "shroff:$(cat "$folder/mongo_password")@mongo:27017"
# The API keys with which Prometheus reads metrics and Alertmanager posts alerts; `shroff keys create` makes them once
# the service runs.
for name in prometheus_key alertmanager_key; do
    [ -e "$folder/$name" ] || : >"$folder/$name"
done
