"""Start servers and print where they are, until Ctrl-C: `python -m tools.servers kafka registry postgres`."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import ExitStack

from tools.servers.errors import ServerError, UnavailableError
from tools.servers.kinds import KINDS


def main() -> int:
    """0 when they were stopped in order, 1 where one cannot be had or does not start."""
    parser = argparse.ArgumentParser(prog="python -m tools.servers", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; without any: all")
    asked = parser.parse_args().kinds
    if unknown := [kind for kind in asked if kind not in KINDS]:
        parser.error(f"no such server: {', '.join(unknown)}. There are {', '.join(KINDS)}.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as running:
        try:
            for kind in asked or KINDS:
                print(f"{kind}: starting ...", file=sys.stderr, flush=True)
                server = running.enter_context(KINDS[kind]())
                told = " ".join(f"{key}={value}" for key, value in server.details.items() if value != server.address)
                print(f"{kind}: {server.address} {told}".rstrip(), flush=True)
        except (UnavailableError, ServerError) as error:
            print(f"{error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 0
        print("Ctrl-C stops them and removes their data.", file=sys.stderr, flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopping ...", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
