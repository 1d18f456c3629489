"""What the pipelines of .github/workflows do to a release: check its tag, build it twice, promote it.

python -m tools.release check v0.1.0                      the tag, the package, the chart and the changelog agree
python -m tools.release build dist                        the wheel, built twice with the same bytes
python -m tools.release promote production 0.1.0 DIGEST   name an image in deploy/helm/values/production.yaml
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from shroff import __version__

ROOT = Path(__file__).resolve().parent.parent
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
VERSION = re.compile(r"\d+\.\d+\.\d+[0-9A-Za-z.-]*")


def check(tag: str, root: Path = ROOT) -> str:
    """That a tag may be released. Raises: ValueError with every disagreement."""
    chart = dict(
        re.findall(r"(?m)^(\w+): (\S+)$", (root / "deploy/helm/shroff/Chart.yaml").read_text(encoding="utf-8"))
    )
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    wanted = {"the tag": tag.removeprefix("v"), "the version of the chart": chart["version"]}
    wanted["appVersion of the chart"] = chart["appVersion"]
    wrong = [
        f"{what} is {found}, but the package is {__version__}" for what, found in wanted.items() if found != __version__
    ]
    if not re.search(rf"^## {re.escape(__version__)}( |$)", changes, re.MULTILINE):
        wrong.append(f"CHANGELOG.md has no heading '## {__version__}'")
    if wrong:
        raise ValueError("\n".join(wrong))
    return __version__


def build(out: Path, root: Path = ROOT) -> str:
    """Build the wheel twice, in folders of their own; keep one. Raises: ValueError where the bytes differ."""
    with tempfile.TemporaryDirectory() as folder:
        made: list[Path] = []
        for name in ("first", "second"):
            script = [root / "deploy/image/build.sh", "wheel", root, Path(folder) / name]
            subprocess.run(["/bin/sh", *map(str, script)], check=True, stdout=sys.stderr)
            made += Path(folder, name).glob("*.whl")
        first, second = (hashlib.sha256(item.read_bytes()).hexdigest() for item in made)
        if first != second:
            raise ValueError(f"the wheel cannot be reproduced: {first}, then {second}")
        out.mkdir(parents=True, exist_ok=True)
        return f"{first}  {Path(shutil.copy(made[0], out)).name}"


def promote(environment: str, version: str, digest: str, root: Path = ROOT) -> str:
    """Name the image of an environment; production takes only what staging has. Raises: ValueError otherwise."""
    if not VERSION.fullmatch(version) or not DIGEST.fullmatch(digest):
        raise ValueError(f"an image is a version such as 0.1.0 and a digest sha256:..., not {version} {digest}")
    values = root / "deploy/helm/values"
    staged = re.findall(r"(?m)^  (?:tag|digest): (\S+)$", (values / "staging.yaml").read_text(encoding="utf-8"))
    if environment == "production" and staged != [version, digest]:
        raise ValueError(f"staging has {' '.join(staged)}: promote there first")
    path = values / f"{environment}.yaml"
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^  tag: .*$", f"  tag: {version}", text, count=1)
    path.write_text(re.sub(r"(?m)^  digest: .*$", f"  digest: {digest}", text, count=1), encoding="utf-8")
    return f"{environment}: {version} {digest}"


def main(words: list[str]) -> str:
    """Run one of the three, and give its line of output."""
    match words:
        case ["check", tag]:
            return check(tag)
        case ["build", out]:
            return build(Path(out))
        case ["promote", ("staging" | "production") as environment, version, digest]:
            return promote(environment, version, digest)
    raise ValueError(__doc__)


if __name__ == "__main__":
    try:
        print(main(sys.argv[1:]))
    except ValueError as error:
        sys.exit(f"release: {error}")
