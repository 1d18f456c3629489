"""Whether everything that `pip install shroff` brings has a wheel for each platform: `make wheels`.

Resolves the package with its extras under the versions of the lock, for each platform and each Python, from the
metadata of the package index alone. In CI an index that cannot be reached fails; elsewhere the check is skipped.
That all are there is asked once a day for the same package and lock: 15 s of a processor.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Final

from tools.servers.fetching import cache

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = ROOT / "requirements" / "dev.txt"
PLATFORMS: Final = {
    "Linux x86-64": "x86_64-manylinux_2_28",
    "Linux arm64": "aarch64-manylinux_2_28",
    "macOS arm64": "aarch64-apple-darwin",
}
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
SOURCE_ONLY: Final = {"jobs", "spark"}  # cronsim and PySpark are published without wheels; they need no compiler
# dbt needs an older protobuf than the lock has: asked for by itself, without the lock, for the ends of `PYTHONS`.
APART: Final = "dbt"
# Wheels of Z3 for Linux on arm64 need glibc 2.38: Debian 13, Ubuntu 24.04.
SOLVER: Final = "prove"
SOLVER_PLATFORMS: Final = {"Linux arm64": "aarch64-manylinux_2_38"}
NO_SOLUTION: Final = 1  # how uv ends where the index answered and some wheel is missing
# Seconds for one platform: 1 to 12 were seen, with an empty cache and all twelve side by side.
ASK_S: Final = 120
ASKED_AGAIN_S: Final = 24 * 60 * 60


def main(project: Path = ROOT / "pyproject.toml", platforms: dict[str, str] = PLATFORMS) -> int:
    """Ask for every platform and Python; 1 where a wheel is missing, or in CI where nobody could be asked."""
    uv = program()
    if uv is None:
        return unasked("uv is not installed; run `make setup`")
    all_there = f"wheels for {', '.join(platforms)}, Python {PYTHONS[0]} to {PYTHONS[-1]}: all there"
    asked = (project.read_bytes(), LOCK.read_bytes(), Path(__file__).read_bytes(), repr(platforms).encode())
    answer = cache() / f"wheels-{sha256(b''.join(asked)).hexdigest()[:16]}"
    if answer.exists() and time.time() - answer.stat().st_mtime < ASKED_AGAIN_S:
        print(f"{all_there}, as the index said within a day")
        return 0
    optional = tomllib.loads(project.read_text(encoding="utf-8"))["project"].get("optional-dependencies", {})
    extras = sorted(optional.keys() - SOURCE_ONLY - {APART, SOLVER})
    pairs = [(name, python) for name in platforms for python in PYTHONS]
    with ThreadPoolExecutor(len(pairs)) as pool:
        answers = list(pool.map(lambda pair: ask(uv, project, extras, platforms[pair[0]], pair[1]), pairs))
        if APART in optional:
            ends = [pair for pair in pairs if pair[1] in {PYTHONS[0], PYTHONS[-1]}]
            answers += pool.map(lambda pair: ask(uv, project, [APART], platforms[pair[0]], pair[1], lock=None), ends)
            pairs += ends
        if SOLVER in optional:
            solver_platforms = platforms | {
                name: SOLVER_PLATFORMS[name] for name in platforms.keys() & SOLVER_PLATFORMS.keys()
            }
            asked_apart = [(name, python) for name in platforms for python in PYTHONS]
            answers += pool.map(
                lambda pair: ask(uv, project, [SOLVER], solver_platforms[pair[0]], pair[1]), asked_apart
            )
            pairs += asked_apart
    missing = {pair: said for pair, (status, said) in zip(pairs, answers, strict=True) if status == NO_SOLUTION}
    for (name, python), said in missing.items():
        print(f"{name}, Python {python}: {said}")
    if missing:
        return 1
    if failed := [said for status, said in answers if status]:
        return unasked(failed[0])
    answer.parent.mkdir(parents=True, exist_ok=True)
    answer.touch()
    print(all_there)
    return 0


def program() -> str | None:
    """Find uv: that of `make setup`, else one on the path."""
    return shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def ask(
    uv: str, project: Path, extras: list[str], platform: str, python: str, lock: Path | None = LOCK
) -> tuple[int, str]:
    """Resolve for one platform and Python: how uv ended, and the reason it gave."""
    options = ["--no-build", "--quiet", "--no-header", "--no-python-downloads", "--python", sys.executable]
    options += ["--python-platform", platform, "--python-version", python]
    options += [] if lock is None else ["-c", str(lock)]
    options += [part for extra in extras for part in ("--extra", extra)]
    try:
        done = subprocess.run(
            [uv, "pip", "compile", str(project), *options],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            timeout=ASK_S,
            env={"UV_HTTP_RETRIES": "1", **os.environ},
        )
    except subprocess.TimeoutExpired:
        return 2, f"no answer within {ASK_S} s"
    return done.returncode, reason(done.stderr)


def reason(said: str) -> str:
    """The line of uv's message that names the cause: the last one, or what it concludes about a wheel."""
    causes = [line.partition("cause: ")[2] for line in said.splitlines() if "cause: " in line]
    return causes[-1] if causes else (said.strip().splitlines() or ["uv gave no reason"])[-1]


def unasked(why: str) -> int:
    """Say that nothing was checked: a failure in CI, elsewhere a skip with its reason."""
    in_ci = bool(os.environ.get("CI"))
    print(f"{'FAILED' if in_ci else 'skipped'}: the package index could not be asked for wheels: {why}")
    return int(in_ci)


if __name__ == "__main__":
    sys.exit(main())
