#!/bin/sh
# Start shroff, which reads secrets itself: ${NAME} in shroff.yaml is also the content of the file that NAME_FILE names.
set -eu

# Kernels of the image: the compiler takes them only from a folder that it can write.
if [ -d "${KERNELS:-/opt/shroff/kernels}" ]; then
    mkdir -p "$NUMBA_CACHE_DIR"
    cp -Ru "${KERNELS:-/opt/shroff/kernels}/." "$NUMBA_CACHE_DIR"
fi
exec shroff "$@"
