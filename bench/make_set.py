"""Make a training set of files again and again in one process: what `bench.training_set` measures without a start.

Run in a project's folder: python -m bench.make_set EVENTS LABELS AS_OF OUT ROUNDS
Prints the seconds and processor seconds of each round.
"""

from __future__ import annotations

import shutil
import sys
from time import perf_counter, process_time

import shroff
from shroff.runtime.process_wide import one_heap


def main(events: str, labels: str, as_of: str, out: str, rounds: str) -> None:
    one_heap()  # as the command does
    project = shroff.open(".")
    for _ in range(int(rounds)):
        shutil.rmtree(out, ignore_errors=True)
        started = perf_counter(), process_time()
        project.training_sets.write(out, as_of=as_of, files=events, labels=labels, fold="final")
        print(perf_counter() - started[0], process_time() - started[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
