"""No secret is in the repository or in the wheel: what looks like one is found, as a planted one is."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
# What the owners of a secret give it so that it can be found: prefix, alphabet and length.
# The first word is quickly looked for; without it a file has none of that kind.
FORMS: Final = {
    "a private key": (b"PRIVATE KEY", rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}"),
    "a key of shroff's API": (b"shroff_", rb"shroff_[a-z0-9]{12}_[0-9a-f]{64}"),
    "a key of AWS": (b"AKIA", rb"\bAKIA[0-9A-Z]{16}\b"),
    "a key of Google": (b"AIza", rb"\bAIza[0-9A-Za-z_-]{35}\b"),
    "a key of Azure": (b"AccountKey=", rb"AccountKey=[A-Za-z0-9+/]{80}"),
    "a token of GitHub": (b"ghp_", rb"\bghp_[A-Za-z0-9]{36}"),
    "a token of GitHub, of the later form": (b"github_pat_", rb"\bgithub_pat_[A-Za-z0-9_]{50}"),
    "a token of GitLab": (b"glpat-", rb"\bglpat-[A-Za-z0-9_-]{20}"),
    "a token of PyPI": (b"pypi-", rb"\bpypi-[A-Za-z0-9_-]{50}"),
    "a token of Slack": (b"xox", rb"\bxox[abprs]-[A-Za-z0-9-]{20}"),
    "a key of Stripe": (b"k_live_", rb"\b[rs]k_live_[A-Za-z0-9]{20}"),
    "a JSON Web Token": (b".eyJ", rb"\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20}"),
    "a password in a URL": (b"://", rb"\b[a-z]{5,10}://[\w.-]+:[^\s@/:${}'\"<>]{16,}@"),
}
PLANTED: Final = (
    b"-----BEGIN RSA PRIVATE KEY-----\n" + b"A" * 64,
    b"shroff_" + b"k" * 12 + b"_" + b"0" * 64,
    b"AKIA" + b"Q" * 16,
    b"AIza" + b"x" * 35,
    b"AccountKey=" + b"x" * 86,
    b"ghp_" + b"x" * 36,
    b"github_pat_" + b"x" * 60,
    b"glpat-" + b"x" * 20,
    b"pypi-" + b"x" * 60,
    b"xoxb-" + b"1" * 24,
    b"sk_live_" + b"x" * 24,
    b"eyJ" + b"a" * 20 + b".eyJ" + b"b" * 20 + b"." + b"c" * 30,
    b"postgresql://" + b"shroff:" + b"x" * 20 + b"@db/fraud",
)


def leaks(data: bytes) -> Iterator[str]:
    """What in a file looks like a secret: the kind and the line, never the text."""
    for kind, (word, form) in FORMS.items():
        for datum in re.finditer(form, data) if word in data else ():
            line = data.count(b"\n", 0, datum.start()) + 1
            yield f"line {line:,}: {kind}"


def tracked(folder: Path) -> list[Path]:
    """The files of a repository, those that are not added yet included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout.split(b"\0")
    return [path for name in names if name and (path := folder / name.decode()).is_file()]


def test_the_repository_has_no_secret():
    files = tracked(ROOT)

    assert len(files) > 1_000
    assert [f"{path.relative_to(ROOT)}, {leak}" for path in files for leak in leaks(path.read_bytes())] == []


@pytest.mark.parametrize(("kind", "planted"), list(zip(FORMS, PLANTED, strict=True)))
def test_a_planted_secret_is_found_and_not_shown(tmp_path, kind, planted):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "notes.md").write_bytes(b"one\n" + planted + b"\n")
    (found,) = [leak for path in tracked(tmp_path) for leak in leaks(path.read_bytes())]

    assert found == f"line 2: {kind}"
