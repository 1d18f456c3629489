"""Logs on servers that show certificates: verified where the address asks for it, refused where nobody vouches."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from shroff.adapters.log.postgresql import PostgresLog
from shroff.errors import StorageError
from tests.support.log_rows import contents, everything
from tools.servers.databases import Postgres, with_postgres_tools

pytestmark = [pytest.mark.slow, pytest.mark.long]


class SecuredPostgres(Postgres):
    certificates: Path

    def _fill(self, programs, env, user):
        super()._fill(programs, env, user)
        data = self.folder / "data"
        for name in ("server.crt", "server.key"):
            shutil.copy(self.certificates / name, data / name)
            (data / name).chmod(0o600)
            if user is not None:
                shutil.chown(data / name, user, user)
        with (data / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write("ssl = on\n")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """An authority, and a server of the name `localhost` that it vouches for."""
    folder = tmp_path_factory.mktemp("certificates")
    folder.chmod(0o755)
    new = "openssl req -newkey rsa:2048 -nodes -days 2"
    commands = [
        f"{new} -x509 -subj /CN=authority -keyout ca.key -out ca.crt",
        f"{new} -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout server.key -out server.csr",
        "openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -days 2 -copy_extensions copy -out server.crt",
    ]
    for command in commands:
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    (folder / "server.key").chmod(0o644)
    return folder


@pytest.fixture(scope="module")
def server(certificates) -> Iterator[Postgres]:
    SecuredPostgres.certificates = certificates
    with SecuredPostgres() as running:
        yield running


def opened(server, certificates, host, options):
    return PostgresLog(url_of(server, certificates, host, options))


def url_of(server, certificates, host, options):
    asked = options.replace("AUTHORITY", f"sslrootcert={certificates / 'ca.crt'}")
    return f"{server.address.replace('127.0.0.1', host)}?{asked}"


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("localhost", "sslmode=verify-full&AUTHORITY"),
        ("127.0.0.1", "sslmode=verify-ca&AUTHORITY"),
        ("127.0.0.1", "sslmode=require"),
        ("127.0.0.1", "sslmode=disable"),
        ("127.0.0.1", ""),
    ],
)
def test_a_log_works_over_a_connection_that_is_secured_as_asked(server, certificates, host, options, monkeypatch):
    for name, value in with_postgres_tools().items():
        monkeypatch.setenv(name, value)
    with closing(opened(server, certificates, host, options)) as log:
        log.append(everything(log.last_seq() + 1))
        assert contents(log)[0] == log.last_seq() > 0
        tool = PostgresLog.dump_tool(url_of(server, certificates, host, options), None)
        with tool.dump() as (last_seq, _, _, pieces):
            assert (last_seq, len(b"".join(pieces)) > 10_000) == (log.last_seq(), True)


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("localhost", "sslmode=verify-full"),  # an authority that this machine does not know
        ("127.0.0.1", "sslmode=verify-full&AUTHORITY"),  # another server's certificate
    ],
)
def test_a_server_for_which_nobody_vouches_gets_no_password(server, certificates, host, options):
    with pytest.raises(StorageError, match=r"cannot be secured as asked \(.*certificate"):
        opened(server, certificates, host, options)
