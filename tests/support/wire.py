"""A connection to a service inside of the test, as the service has it: bytes as they go over the wire."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from shroff.web.http.connections import limited
from shroff.web.http.proxies import Proxies
from tests.support.webs import Asker

Answer = tuple[int, dict[str, str], bytes]


class Spoken:
    """A connection to a server inside of the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.writer.write(packet)
            await self.writer.drain()
            await asyncio.sleep(0.02)  # so that they come one by one

    async def answer(self) -> Answer:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 120)
        status, *lines = head.decode().split("\r\n")[:-2]
        headers = dict(line.split(": ", 1) for line in lines)
        body = await self.reader.readexactly(int(headers["content-length"]))
        return int(status.split()[1]), headers, body

    async def ask(self, *packets: bytes) -> Answer:
        await self.send(*packets)
        return await self.answer()


@asynccontextmanager
async def connected(asks: Asker, kept_s: int = 60, http: Any = None):
    """A connection to a server of its own, which keeps one that is idle for so long."""
    how = {"ws": "none", "lifespan": "off", "proxy_headers": False, "timeout_keep_alive": kept_s, "log_config": None}
    config = uvicorn.Config(asks._application, http=http or limited(Proxies), **how)
    config.load()
    loop, state = asyncio.get_running_loop(), ServerState()
    server = await loop.create_server(lambda: config.http_protocol_class(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield Spoken(reader, writer)
    finally:
        writer.close()
        server.close()
        await server.wait_closed()
