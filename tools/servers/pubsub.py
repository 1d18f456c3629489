"""Google Pub/Sub as its Go client's own tests have it: `pstest`, a server in memory that speaks gRPC and no REST."""

from __future__ import annotations

from typing import Final

from tools.servers.fetching import from_go
from tools.servers.process import Child, OneProcess

MODULE: Final = "cloud.google.com/go/pubsub/v2"
VERSION: Final = "v2.5.0"  # 2.8 needs a module that proxies refuse
MAIN: Final = """package main

import (
	"os"
	"strconv"

	"cloud.google.com/go/pubsub/v2/pstest"
)

func main() {
	port, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	defer pstest.NewServerWithPort(port).Close()
	select {}
}
"""


class Pubsub(OneProcess):
    """A server of Pub/Sub; clients find it by the variable PUBSUB_EMULATOR_HOST. What it has is gone with it."""

    kind = "pubsub"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def _made(self) -> Child:
        found = from_go("pstest", MODULE, VERSION, "./shroff-pstest", files={"shroff-pstest/main.go": MAIN})
        return Child("pstest", [str(found), str(self._port)], self.folder / "pstest.log")
