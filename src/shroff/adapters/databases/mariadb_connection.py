"""Open a connection to MariaDB with time limits and TLS, for tables of sinks, summaries and pulled sources."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from shroff.adapters.databases.deadline import ANSWER_S
from shroff.adapters.databases.server_url import ServerUrl
from shroff.json_types import JsonObject

_CONNECT_S = 5
# A peer that vanished is detected within 11 s.
_KEEPALIVE = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 11_000))


def connection(url: ServerUrl) -> Any:
    wire = socket.create_connection((url.host, url.port), _CONNECT_S)
    try:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):  # only on Linux
                wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        opened = pymysql.connect(
            host=url.host,
            port=url.port,
            user=url.user,
            password=url.password,
            database=url.database,
            charset="utf8mb4",
            collation="utf8mb4_nopad_bin",
            autocommit=True,
            client_flag=CLIENT.MULTI_STATEMENTS | CLIENT.FOUND_ROWS,
            defer_connect=True,
            read_timeout=ANSWER_S,
            write_timeout=ANSWER_S,
            **secured(url),
        )
        opened.connect(wire)
    except BaseException:
        wire.close()
        raise
    return opened


def secured(url: ServerUrl) -> JsonObject:
    """Return PyMySQL's TLS options for the address. Its default, as for `prefer`, encrypts if possible, unverified."""
    mode = url.ssl_mode
    if mode == "disable":
        return {"ssl_disabled": True}
    if mode == "prefer":
        return {}
    context = ssl.create_default_context(cafile=url.options.get("ssl_ca"))
    context.check_hostname = mode == "verify-full"
    context.verify_mode = ssl.CERT_NONE if mode == "require" else ssl.CERT_REQUIRED
    if "ssl_cert" in url.options:
        context.load_cert_chain(url.options["ssl_cert"], url.options.get("ssl_key"))
    return {"ssl": context}
