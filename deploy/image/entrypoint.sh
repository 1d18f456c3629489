#!/bin/sh
# Start shroff. A variable NAME_FILE that names a file in /run/secrets becomes NAME with the content of that file, so
# that ${NAME} in shroff.yaml can be a secret of Docker or Kubernetes. No secret is an argument or part of the image.
set -eu

secrets=${SECRETS_FOLDER:-/run/secrets}
for name in $(env | sed -n "s|^\([A-Za-z_][A-Za-z0-9_]*\)_FILE=$secrets/.*|\1|p"); do
    file=$(printenv "${name}_FILE")
    if printenv "$name" >/dev/null; then
        echo "shroff: both $name and ${name}_FILE are set; remove one of them" >&2
        exit 2
    fi
    if [ ! -r "$file" ]; then
        echo "shroff: ${name}_FILE names $file, which this user cannot read" >&2
        exit 2
    fi
    value=$(cat "$file")
    export "$name=$value"
    unset "${name}_FILE"
done
# Kernels of the image: the compiler takes them only from a folder that it can write.
if [ -d "${KERNELS:-/opt/shroff/kernels}" ]; then
    mkdir -p "$NUMBA_CACHE_DIR"
    cp -Ru "${KERNELS:-/opt/shroff/kernels}/." "$NUMBA_CACHE_DIR"
fi
exec shroff "$@"
