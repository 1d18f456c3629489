"""How the peers with FastAPI are served: on a free port of their own, without logs."""

from __future__ import annotations

import socket
import sys

import uvicorn
from fastapi import FastAPI, Response


def serve(app: FastAPI) -> None:
    """Print the address and serve until the process ends; /health/ready says that it answers."""
    app.add_api_route("/health/ready", ready)
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"FastAPI at http://127.0.0.1:{listening.getsockname()[1]}", file=sys.stderr, flush=True)
    config = uvicorn.Config(app, http="httptools", loop="uvloop", log_config=None, access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listening])


async def ready() -> Response:
    return Response(b"{}", media_type="application/json")
