#!/bin/sh
# The steps of the image. The first three run as any user, need Python 3.11 or newer, and read no setting of the user's.
#
#   build.sh wheel SOURCE OUT              build the wheel of SOURCE in OUT, with the locked build tools
#   build.sh install SOURCE OUT TARGET     make the environment TARGET: the locked packages, then the wheel in OUT
#   build.sh kernels TARGET                compile the kernels of TARGET to machine code, in TARGET/kernels
#   build.sh clients PACKAGE...            install client programs of database servers, as root on Debian; none for none
set -eu

python=${PYTHON:-python3}
pip_options="--quiet --disable-pip-version-check --no-cache-dir --only-binary=:all:"

wheel() {
    source=$1 out=$2
    mkdir -p "$out"
    "$python" -m venv "$out/tools"
    # shellcheck disable=SC2086  # several options
    "$out/tools/bin/python" -m pip install $pip_options --require-hashes -r "$source/requirements/build.txt"
    cd "$source"
    "$out/tools/bin/hatchling" build -t wheel -d "$out"
    rm -r "$out/tools"
}

install() {
    source=$1 out=$2 target=$3
    "$python" -m venv "$target"
    # shellcheck disable=SC2086
    "$target/bin/python" -m pip install $pip_options --require-hashes -r "$source/${LOCK:-requirements/image.txt}"
    # shellcheck disable=SC2086
    "$target/bin/python" -m pip install $pip_options --no-deps --no-index "$out"/shroff-*.whl
    "$target/bin/python" -m pip uninstall --quiet --yes pip setuptools
}

kernels() {
    target=$1
    # The compiler compares the time of a source, of which the layers of an image keep whole seconds.
    "$target/bin/python" -c "import os, pathlib, shroff
for path in pathlib.Path(shroff.__file__).parent.rglob('*.py'): os.utime(path, (int(path.stat().st_mtime),) * 2)"
    export NUMBA_CACHE_DIR="$target/kernels"
    "$target/bin/python" -c "import shroff.features.kernels.windows, shroff.features.kernels.rules"
    "$target/bin/python" -c "from shroff.cli.demo_kernels import keep_kernels; keep_kernels()"
    chmod -R a+rX "$NUMBA_CACHE_DIR" # its files are their owner's alone
}

clients() {
    [ $# -gt 0 ] || return 0
    apt-get update -q
    case $* in
    *postgresql-client-*) # Debian has one version of PostgreSQL, its own packages have each
        apt-get install -q --yes --no-install-recommends ca-certificates postgresql-common
        "${PGDG:-/usr/share/postgresql-common/pgdg/apt.postgresql.org.sh}" -y
        ;;
    esac
    apt-get install -q --yes --no-install-recommends "$@"
    rm -rf "${LISTS:-/var/lib/apt/lists}"
}

step=$1
shift
case $step in
wheel | install | kernels | clients) "$step" "$@" ;;
*)
    echo "build.sh: there is no step '$step'; steps: wheel, install, kernels, clients" >&2
    exit 2
    ;;
esac
