"""`make setup` without uv: that of the lock is fetched by pip, is told pip's settings, and pip does what it cannot."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tools import bootstrap

LISTED = r"""
:env:.cert='/etc/ours.crt'
:env:.default-timeout='180'
global.extra-index-url='\nhttps://one/simple\nhttps://two/simple'
global.index-url='https://for-all/simple'
install.index-url='https://for-install/simple'
list.index-url='https://for-lists/simple'
"""


def test_uv_looks_for_packages_where_pip_would():
    assert bootstrap.settings_of(LISTED) == {
        "SSL_CERT_FILE": "/etc/ours.crt",
        "UV_DEFAULT_INDEX": "https://for-install/simple",
        "UV_INDEX": "https://one/simple https://two/simple",
    }
    assert bootstrap.settings_of(LISTED + ":env:.index-url='https://here/simple'")["UV_DEFAULT_INDEX"].endswith(
        "here/simple"
    )


def test_the_uv_of_the_lock_is_asked_for_with_its_hashes(root: Path):
    version, *hashes = bootstrap.locked("uv", (root / "requirements" / "dev.txt").read_text()).splitlines()

    assert version.startswith("uv==")
    assert len(hashes) > 5
    assert all(line.strip().startswith(("--hash=sha256:", "#")) for line in hashes)


@pytest.mark.parametrize(
    ("on_path", "fetched", "fails", "by"),
    [
        (None, "fetched", False, ["fetched"]),
        (None, "fetched", True, ["fetched", None]),
        (None, None, False, [None]),
        ("theirs", None, False, ["theirs"]),
    ],
)
def test_pip_installs_where_uv_is_not_to_be_had_or_fails(monkeypatch, tmp_path, on_path, fetched, fails, by):
    used = []

    def install(uv: str | None, *_: object) -> None:
        used.append(uv)
        if uv and fails:
            raise subprocess.CalledProcessError(1, "uv")

    monkeypatch.setattr(bootstrap, "fetch_uv", lambda *_: fetched)
    monkeypatch.setattr(bootstrap, "make_environment", lambda _: None)
    monkeypatch.setattr(bootstrap, "install", install)

    bootstrap.make(on_path, tmp_path, ("one.txt",), "1 GB")
    assert used == by


def test_a_uv_of_the_user_that_fails_is_told(monkeypatch, tmp_path):
    def install(*_: object) -> None:
        raise subprocess.CalledProcessError(1, "uv")

    monkeypatch.setattr(bootstrap, "make_environment", lambda _: None)
    monkeypatch.setattr(bootstrap, "install", install)

    with pytest.raises(subprocess.CalledProcessError):
        bootstrap.make("theirs", tmp_path, ("one.txt",), "1 GB")


@pytest.mark.parametrize(("free", "is_full"), [(200_000_000, True), (50_000_000_000, False)])
def test_a_full_disk_is_named_and_not_the_network(monkeypatch, capsys, free, is_full):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, free))

    assert bootstrap.explain(subprocess.CalledProcessError(1, ["uv", "pip"]), "2.3 GB on disk") == 3
    said = capsys.readouterr().err
    assert ("has 200 MB left" in said) is is_full
    assert ("package index" in said) is not is_full


@pytest.mark.parametrize(
    "uv, by", [("/bin/uv", "by uv (2.3 GB); it takes about a minute"), (None, "by pip (2.3 GB); it takes 5")]
)
def test_it_says_how_long_it_takes_before_it_installs(monkeypatch, capsys, uv, by):
    monkeypatch.setattr(bootstrap, "run", lambda *command: print("installs"))
    monkeypatch.setattr(bootstrap, "runs", lambda *_: True)
    bootstrap.install(uv, ("requirements/dev.txt",), "2.3 GB")
    said = capsys.readouterr().out.splitlines()

    assert said[0].startswith(f"setup: installing requirements/dev.txt {by}")
    assert said[1] == "installs"
