"""The proxies of deploy/ in front of a service of a test: Caddy of systemd, HAProxy of Compose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.deploy import checks
from tools.servers.ports import Port
from tools.servers.process import Child
from tools.servers.web import listens


@contextmanager
def proxied(folder: Path, service: int) -> Iterator[tuple[int, Path]]:
    """Caddy with the shipped file, without TLS, before a service on this port; gives its own port, and its log."""
    log = folder / "access.log"
    with closing(Port()) as held:
        port = held.number
        text = (checks.DEPLOY / "systemd/Caddyfile").read_text(encoding="utf-8")
        text = text.replace("\tservers {", "\tauto_https off\n\tadmin off\n\tservers {", 1)
        text = text.replace("fraud.example.com {", f"http://:{port} {{\n\tbind 127.0.0.1")
        text = text.replace(f":{checks.serve_port()} {{", f":{service} {{").replace(
            "/var/log/caddy/shroff.log", str(log)
        )
        (folder / "Caddyfile").write_text(text, encoding="utf-8")
        path, env = checks.tool("caddy")
        env = {**env, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        command = [path, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
        caddy = Child("Caddy", command, folder / "caddy.log", env=env)
        caddy.start(lambda: listens(port))
        try:
            yield port, log
        finally:
            caddy.stop()


@contextmanager
def balanced(folder: Path, service: int, connections_max: int = 2_000) -> Iterator[int]:
    """HAProxy with the shipped file before a service on this port; gives its own port.

    Args:
        connections_max: Of one address, in place of what the file says.
    """
    with closing(Port()) as held:
        port = held.number
        text = (checks.DEPLOY / "compose/haproxy.cfg").read_text(encoding="utf-8")
        text = text.replace("bind :8080", f"bind 127.0.0.1:{port}").replace("gt 2000 }", f"gt {connections_max} }}")
        text = text.replace(f"shroff:{checks.serve_port()}", f"127.0.0.1:{service}")
        text = text.replace(" resolvers docker init-addr none", "").partition("# The address of shroff")[0]
        (folder / "haproxy.cfg").write_text(text, encoding="utf-8")
        path, env = checks.tool("haproxy")
        haproxy = Child("HAProxy", [path, "-f", str(folder / "haproxy.cfg")], folder / "haproxy.log", env=env)
        haproxy.start(lambda: listens(port))
        try:
            yield port
        finally:
            haproxy.stop()
