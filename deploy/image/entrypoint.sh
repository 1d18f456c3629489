#!/bin/sh
# Start shroff, which reads secrets itself: ${NAME} in shroff.yaml is also the content of the file that NAME_FILE names.
set -eu

# Kernels of the image: the compiler takes them only from a folder that it can write.
if [ -d "${KERNELS:-/opt/shroff/kernels}" ]; then
    mkdir -p "$NUMBA_CACHE_DIR"
    cp -Ru "${KERNELS:-/opt/shroff/kernels}/." "$NUMBA_CACHE_DIR"
fi
# Temporary files on a volume outlast a killed process; no work takes two days.
case ${TMPDIR:-} in
*/data/tmp)
    mkdir -p "$TMPDIR"
    find "$TMPDIR" -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf {} + || true # what is in use or of somebody else stays
    ;;
esac
exec shroff "$@"
