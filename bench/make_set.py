"""Make a training set of files, a whole process: what `bench.training_set` measures.

Run in a project's folder: python -m bench.make_set EVENTS LABELS AS_OF_MS OUT [ROUNDS]
With rounds it does so again and again in one process, and prints the seconds and processor seconds of each.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter, process_time

import pyarrow as pa

import shroff
from shroff.decisions.training_files import write_set
from shroff.decisions.training_sources import file_source


def main(events: str, labels: str, as_of_ms: str, out: str, rounds: str = "1") -> None:
    pa.set_memory_pool(pa.system_memory_pool())  # as `shroff features` does
    definitions = shroff.open(".").definitions
    settings = definitions.models["payment"]
    for _ in range(int(rounds)):
        started = perf_counter(), process_time()
        source = file_source([Path(events)], Path(labels), definitions, settings)
        write_set(Path(out), definitions, settings, source, int(as_of_ms))
        print(perf_counter() - started[0], process_time() - started[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
