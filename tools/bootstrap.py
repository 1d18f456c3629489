"""Make `.venv` with the locked requirements and this package in it: those of development, or `core` for the program's.

Runs on any Python 3.11 or newer with nothing installed. Uses uv: that of the path, else that of the lock, which pip
fetches from where pip's settings say. Where uv cannot be had or fails, pip installs, slower. Every file that is
installed must have a hash of `requirements/`. A `.venv` that is there and runs is brought up to date.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
# The locks, and what they take as measured on Linux x86-64. Build tools come out of a lock as well, so the package
# itself is built without fetching anything.
LOCKS = {
    "dev": (("requirements/dev.txt",), "2.3 GB on disk"),
    "core": (("requirements/core.txt", "requirements/build.txt"), "200 MB to download, 750 MB on disk"),
}
# As measured for the largest lock on 2 cores.
TAKES = {"uv": "about a minute, and as long as the download takes", "pip": "5 to 10 minutes, since uv could not be had"}
ENOUGH = 2_000_000_000  # bytes free on a disk, below which a failure is put down to it


# What pip is told by its files and its environment, and what uv calls the same; with what uv parts several.
AS_UV = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "proxy": ("ALL_PROXY", " "),
}
SECTIONS = ("global", "install", ":env:")  # of pip's settings; a later one counts more


def main() -> int:
    """Make the environment; 0 when it is ready, 3 when the packages could not be had, 1 else."""
    locks, size = LOCKS[sys.argv[1] if len(sys.argv) > 1 else "dev"]
    try:
        with tempfile.TemporaryDirectory(prefix="shroff-setup-") as folder:
            make(shutil.which("uv"), Path(folder), locks, size)
    except subprocess.CalledProcessError as error:
        # The code of the docs for "something outside is unreachable".
        return explain(error, size)
    return 0


def make(uv: str | None, folder: Path, locks: tuple[str, ...], size: str) -> None:
    """Make the environment, with the uv that is there, one fetched into the folder, or pip."""
    is_ours = uv is not None
    uv = uv or fetch_uv(Path(sys.executable), folder)
    if not runs(PYTHON):
        make_environment(uv)
    uv = uv or fetch_uv(PYTHON, folder)
    try:
        install(uv, locks, size)
    except subprocess.CalledProcessError:
        if is_ours or not uv:
            raise
        install(None, locks, size)


def fetch_uv(python: Path, folder: Path) -> str | None:
    """Put the uv of the lock into a folder by the pip of a Python, and give it pip's settings; None where it fails."""
    asked = folder / "uv.txt"
    asked.write_text(locked("uv", (ROOT / "requirements" / "dev.txt").read_text("utf-8")), "utf-8")
    pip = (str(python), "-m", "pip")
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary=:all:")
    command = (*pip, "install", *options, "--target", str(folder / "uv"), "-r", str(asked))
    if subprocess.run(command, check=False, capture_output=True).returncode:
        return None
    listed = subprocess.run((*pip, "config", "list"), check=False, capture_output=True, text=True).stdout
    for name, value in settings_of(listed).items():
        os.environ.setdefault(name, value)
    return str(folder / "uv" / "bin" / "uv")


def locked(name: str, lock: str) -> str:
    """The lines of one package in a lock: its version and its hashes."""
    found = re.search(rf"^{re.escape(name)}==(?:.*\\\n)*.*\n", lock, re.MULTILINE)
    assert found, f"{name} is not in the lock"
    return found[0]


def settings_of(listed: str) -> dict[str, str]:
    """What `pip config list` prints, as the environment of uv: where packages come from, and how to reach it."""
    found = dict[str, str]()
    lines = [line.partition("=") for line in listed.splitlines()]
    for section in SECTIONS:
        for key, _, value in lines:
            known = AS_UV.get(key.removeprefix(f"{section}.")) if key.startswith(f"{section}.") else None
            if known:
                name, parted_by = known
                found[name] = parted_by.join(str(ast.literal_eval(value)).split())
    return found


def make_environment(uv: str | None) -> None:
    """Make an empty `.venv` of the Python that runs this script."""
    say(f"making .venv with Python {sys.version.split()[0]}")
    if uv:
        run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV))
        return
    try:
        import ensurepip  # noqa: F401  Debian ships Python without it unless python3-venv is there
    except ImportError:
        name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        sys.exit(
            f"make setup: {name} came without venv.\nInstall it (Debian: {name}-venv) or install uv, then try again."
        )
    venv.create(VENV, clear=True, with_pip=True, symlinks=True)


def install(uv: str | None, locks: tuple[str, ...], size: str) -> None:
    """Install the locked requirements, then this package and the plug-in of examples/orders from their sources."""
    by = "uv" if uv else "pip"
    say(f"installing {' and '.join(locks)} by {by} ({size}); it takes {TAKES[by]}")
    requirements = [part for lock in locks for part in ("-r", lock)]
    package = ("--no-deps", "--no-build-isolation", "-e", ".", "-e", "./examples/orders")
    if uv:
        command = (uv, "pip", "install", "--quiet", "--python", str(PYTHON))
        run(*command, "--require-hashes", *requirements)
        run(*command, *package)
        return
    command = (str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    if not runs(PYTHON, "import pip"):  # an environment that uv made has none
        run(str(PYTHON), "-m", "ensurepip")
    run(*command, "--require-hashes", *requirements)
    run(*command, *package)


def explain(error: subprocess.CalledProcessError, size: str) -> int:
    """Say what to do about a step that failed; its own words stand above."""
    said = f"\nmake setup: `{' '.join(map(str, error.cmd[:4]))} ...` failed (its message stands above)."
    # Installers keep what they build in the home folder and unpack in that for temporary files.
    for place in (ROOT, Path.home(), Path(tempfile.gettempdir())):
        if (free := shutil.disk_usage(place).free) < ENOUGH:
            print(
                f"{said}\nThe disk that holds {place} has {free // 1_000_000} MB left; this takes {size},\n"
                "and as much again while it is built. Make room (`uv cache clean`, `pip cache purge`), then try again.",
                file=sys.stderr,
            )
            return 3
    print(
        f"{said}\n"
        "If the package index cannot be reached: check the network or proxy, or name a mirror\n"
        "(UV_DEFAULT_INDEX for uv, PIP_INDEX_URL for pip), then run the same command again.\n"
        "If a hash does not match: the mirror serves other files than the ones that were tested.",
        file=sys.stderr,
    )
    return 3


def runs(python: Path, code: str = "import sys; sys.exit(sys.version_info < (3, 11))") -> bool:
    """Tell whether this interpreter is there and runs the code without an error."""
    return python.exists() and subprocess.run([python, "-c", code], check=False, capture_output=True).returncode == 0


def run(*command: str) -> None:
    """Run a command in the project folder; its output is shown."""
    subprocess.run(command, cwd=ROOT, check=True)


def say(text: str) -> None:
    """Print one line at once."""
    print(f"setup: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
