#!/bin/sh
# What Docker does of the image, without Docker: shroff as user 10001 without capabilities, / read-only, /data its own.
# Needs root. container.sh HOME PORT: HOME has `src` (the sources), `opt` (the environment) and an empty `data`.
set -eu
home=$1 port=$2
scripts=$home/src/deploy/image
mkdir "$home/root"
chown -R 10001:10001 "$home/data"
sed -i "s/^PORT = .*/PORT = $port/" "$scripts/health.py"
mount --rbind / "$home/root"
mount --make-rslave "$home/root"
mount -o remount,bind,ro "$home/root"
mount --bind "$home/data" "$home/root$home/data"
cat >"$home/inside.sh" <<EOF
cd $home/data/project
! touch $home/opt/written 2>&1 || echo "the root can be written"
$scripts/entrypoint.sh init . --template payments --name Bank >/dev/null
$scripts/entrypoint.sh serve --host 127.0.0.1 --port $port >$home/data/log 2>&1 &
for _ in \$(seq 100); do python $scripts/health.py ready 2>/dev/null && break; sleep 0.1; done
python $scripts/health.py ready && echo ready
kill -TERM \$!
wait \$! && echo ended
EOF
chroot "$home/root" setpriv --reuid=10001 --regid=10001 --clear-groups --bounding-set=-all --no-new-privs \
    env -i HOME="$home/data" KERNELS="$home/opt/kernels" NUMBA_CACHE_DIR="$home/data/.cache/kernels" \
    PATH="$home/opt/bin:/usr/bin:/bin" PYTHONDONTWRITEBYTECODE=1 sh "$home/inside.sh"
