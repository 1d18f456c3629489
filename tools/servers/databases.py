"""Databases: Redis, PostgreSQL and MariaDB of Debian's packages; FerretDB, which speaks MongoDB's protocol, by Go."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tools.servers.errors import ServerError
from tools.servers.fetching import from_debian, from_go, libraries, program
from tools.servers.process import Child, OneProcess

FERRETDB: Final = "v1.24.2"  # the last with a SQLite store of its own
NAME: Final = "shroff"


class Redis(OneProcess):
    """Redis with a password, every write on disk before it is answered."""

    kind = "redis"

    @property
    def address(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self._port}/0"

    def _made(self) -> Child:
        root, found = _found("redis-server", "redis", ["redis-server"])
        settings = self.folder / "redis.conf"
        settings.write_text(
            f"bind 127.0.0.1\nport {self._port}\ndir {self.folder}\nrequirepass {self.password}\n"
            "save ''\nappendonly yes\nappendfsync always\n",
            encoding="utf-8",
        )
        command = [str(found), str(settings)]
        return Child("Redis", command, self.folder / "redis.log", env=root)

    def _is_ready(self) -> bool:
        """Whether it listens, and no longer reads its data."""
        import redis

        if not super()._is_ready():
            return False
        try:
            with redis.Redis.from_url(self.address) as client:
                client.ping()
        except redis.exceptions.BusyLoadingError:
            return False
        except redis.RedisError:  # it speaks, but not with us: its certificate is another one
            return True
        return True


class Postgres(OneProcess):
    """PostgreSQL with a password, and one empty database."""

    kind = "postgres"

    @property
    def address(self) -> str:
        return f"postgresql://{NAME}:{self.password}@127.0.0.1:{self._port}/{NAME}"

    def _made(self) -> Child:
        user = _not_root()
        env, found = _of_postgres("postgres")
        self._fill(found.parent, env, user)
        command = [str(found), "-D", str(self.folder / "data")]
        return Child("PostgreSQL", command, self.folder / "postgres.log", env=env, user=user)

    def _is_ready(self) -> bool:
        return _takes_connections(self.address)

    def _fill(self, programs: Path, env: Mapping[str, str], user: int | None) -> None:
        """A cluster in our folder, and the database in it."""
        data, secret = self.folder / "data", self.folder / "password"
        secret.write_text(self.password, encoding="utf-8")
        if user is not None:
            os.chown(self.folder, user, user)
            os.chown(secret, user, user)
        command = [str(programs / "initdb"), "-D", str(data), "-U", NAME, "-A", "scram-sha-256", "-E", "UTF8"]
        _run([*command, "--locale=C", f"--pwfile={secret}", "--no-instructions"], env, user)
        single = [str(programs / "postgres"), "--single", "-D", str(data), "postgres"]
        _run(single, env, user, f"CREATE DATABASE {NAME};\n")
        with (data / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(
                f"listen_addresses = '127.0.0.1'\nport = {self._port}\nunix_socket_directories = '{self.folder}'\n"
                "jit = off\nmax_connections = 60\n"
                "dynamic_shared_memory_type = mmap\n"  # in our folder, where one that is killed leaves nothing behind
            )


class MariaDB(OneProcess):
    """MariaDB with a password, one empty database, and the right to make others whose names begin as its does."""

    kind = "mariadb"

    @property
    def address(self) -> str:
        return f"mariadb://{NAME}:{self.password}@127.0.0.1:{self._port}/{NAME}"

    def _made(self) -> Child:
        env, found = _found("mariadbd", "mariadb", ["mariadb-server-core", "mariadb-client-core"])
        base = found.parent.parent
        user = pwd.getpwuid(os.geteuid()).pw_name
        own = [f"--datadir={self.folder / 'data'}", f"--user={user}", f"--basedir={base}"]
        own.append(f"--tmpdir={self.folder}")  # a server that starts removes what another one has in a shared folder
        install = base / "bin" / "mariadb-install-db"
        # Perl and the client are not needed: statements to make the user are read when the server starts.
        _run([str(install), "--no-defaults", *own, "--auth-root-authentication-method=normal"], env)
        first = self.folder / "first.sql"
        first.write_text(
            f"CREATE DATABASE IF NOT EXISTS {NAME} CHARACTER SET utf8mb4;\n"
            f"CREATE USER IF NOT EXISTS '{NAME}'@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON `{NAME}%`.* TO '{NAME}'@'127.0.0.1';\n",
            encoding="utf-8",
        )
        command = [str(found), "--no-defaults", *own, "--bind-address=127.0.0.1", f"--port={self._port}"]
        command += [f"--socket={self.folder / 'm.sock'}", f"--init-file={first}", "--skip-name-resolve"]
        return Child("MariaDB", command, self.folder / "mariadb.log", env=env)


class Mongo(OneProcess):
    """A server that speaks MongoDB's protocol: FerretDB over SQLite, without transactions over several documents."""

    kind = "mongo"

    @property
    def address(self) -> str:
        return f"mongodb://127.0.0.1:{self._port}/"

    def _made(self) -> Child:
        module = "github.com/FerretDB/FerretDB"
        # Its release writes this file; the source alone refuses to start without it.
        version = {"build/version/version.txt": f"{FERRETDB}\n"}
        # Its other stores are left out, and SQLite, which is Go here, is as fast as it can be.
        options = ["-tags=ferretdb_no_postgresql", "-gcflags=modernc.org/...="]
        found = from_go("ferretdb", module, FERRETDB, "./cmd/ferretdb", files=version, options=options)
        data = self.folder / "data"
        data.mkdir()
        command = [str(found), f"--listen-addr=127.0.0.1:{self._port}", "--handler=sqlite", "--telemetry=disable"]
        command += [f"--sqlite-url=file:{data}/", f"--state-dir={self.folder}", "--debug-addr=-", "--log-level=error"]
        return Child("FerretDB", command, self.folder / "ferretdb.log")


def with_postgres_tools() -> Mapping[str, str]:
    """Variables of an environment in which `pg_dump` and `pg_restore` are on the path."""
    return _with(*_of_postgres("pg_dump"))


def with_mariadb_tools() -> Mapping[str, str]:
    """Variables of an environment in which `mariadb-dump` and `mariadb` are on the path."""
    return _with(*_found("mariadb-dump", "mariadb-client", ["mariadb-client"]))


def _with(env: Mapping[str, str], program: Path) -> Mapping[str, str]:
    return {**env, "PATH": os.pathsep.join([str(program.parent), os.environ["PATH"]])}


def _of_postgres(name: str) -> tuple[Mapping[str, str], Path]:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return _found(name, "postgres", ["postgresql-15"], folders, without=("libllvm", "libz3"))


def _found(
    name: str, cached: str, packages: Sequence[str], folders: Sequence[Path] = (), without: Sequence[str] = ()
) -> tuple[Mapping[str, str], Path]:
    """A program, and the environment it needs: of the system, else of Debian's packages, unpacked."""
    if here := program(name, folders):
        return {}, here
    root = from_debian(cached, packages, without=without)
    places = [root / "usr" / "bin", root / "usr" / "sbin", *sorted(root.glob("usr/lib/postgresql/*/bin"))]
    there = program(name, places)
    if there is None:
        raise ServerError(f"{name} is not in the packages {', '.join(packages)}.")
    return libraries(root), there


def _not_root() -> int | None:
    """The number of a user without rights, where we are root: PostgreSQL refuses to run as that."""
    return None if os.geteuid() != 0 else pwd.getpwnam("nobody").pw_uid


def _run(command: Sequence[str], env: Mapping[str, str], user: int | None = None, stdin: str = "") -> None:
    done = subprocess.run(
        list(command),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
        user=user,
        group=user,
        cwd="/",
    )
    if done.returncode:
        raise ServerError(
            f"{Path(command[0]).name} ended with {done.returncode}: {(done.stderr or done.stdout)[-800:]}"
        )


def _takes_connections(address: str) -> bool:
    import psycopg

    try:
        psycopg.connect(address, connect_timeout=20).close()  # one look of many
    except psycopg.OperationalError:
        return False
    return True
