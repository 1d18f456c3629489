#!/bin/sh
# Train on the new objects below incoming/, then copy new models to their bucket. Runs in the project's folder.
# The exit status is about the object that this task was started for, also where another task ingested it:
# 0 promoted; 1 not promoted, since a gate failed; 4 not ingested, or not whole; 5 ingested, and no model was made.
# Status 3: another training has the objects, or a system is away. Wait for it; it may not have seen our object.
set -eu

[ "${LABELS_INSIDE:-false}" = false ] || set -- "$@" --labels-inside
[ -z "${OBJECT_KEY:-}" ] || set -- "$@" --file "${OBJECT_KEY#incoming/}"
status=3
for _ in $(seq "${TRIES:-120}"); do
    status=0
    "${SHROFF:-/opt/entrypoint.sh}" train --watch "s3://$RAW_BUCKET/incoming" --once --promote --by trigger "$@" || status=$?
    [ "$status" -eq 3 ] || break
    sleep "${WAIT_S:-30}"
done
[ "$status" -le 1 ] || exit "$status"

python3 - <<'PY'
import os
from pathlib import Path

import obstore

store = obstore.store.S3Store(os.environ["MODELS_BUCKET"])
there = {one["path"] for batch in obstore.list(store) for one in batch}
for path in sorted(Path("models").rglob("*")):
    # A model's files never change; which model is active does.
    if path.is_file() and (str(path) not in there or path.name == "in_force.json"):
        obstore.put(store, str(path), path.read_bytes())
PY
exit "$status"
