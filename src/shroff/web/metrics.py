"""What a service counts of itself, and how Prometheus reads it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS: Final = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())
TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]
Samples = Sequence[tuple[Labels, float]]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, its kind, and one line of what it means."""

    name: str
    kind: str
    meaning: str


class Requests:
    """Requests by route and status, and how long they took by route. For one thread."""

    FAMILIES: Final = (
        Family("shroff_http_requests_total", "counter", "Requests that were answered, by method, route and status."),
        Family("shroff_http_request_seconds", "histogram", "From a request's head to the end of its answer, by route."),
    )

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS_S) + 1))
        self._seconds: dict[str, float] = defaultdict(float)

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one that is answered. Methods that nobody defined are counted together."""
        method = method if method in METHODS else "other"
        self.counts[method, route, status] += 1
        self._buckets[route][bisect_left(BOUNDS_S, seconds)] += 1
        self._seconds[route] += seconds

    def text(self) -> Iterator[str]:
        """The lines for Prometheus."""
        counted, timed = self.FAMILIES
        of_counts = [
            ({"method": method, "route": route, "status": str(status)}, count)
            for (method, route, status), count in sorted(self.counts.items())
        ]
        yield from lines(counted, of_counts)
        yield from lines(timed, [])
        for route, buckets in sorted(self._buckets.items()):
            so_far = 0
            for bound, count in zip((*BOUNDS_S, "+Inf"), buckets, strict=True):
                so_far += count
                yield sample(f"{timed.name}_bucket", {"route": route, "le": str(bound)}, so_far)
            yield sample(f"{timed.name}_sum", {"route": route}, self._seconds[route])
            yield sample(f"{timed.name}_count", {"route": route}, so_far)


def lines(family: Family, samples: Samples) -> Iterator[str]:
    """A metric for Prometheus."""
    yield f"# HELP {family.name} {family.meaning}"
    yield f"# TYPE {family.name} {family.kind}"
    for labels, value in samples:
        yield sample(family.name, labels, value)


def sample(name: str, labels: Labels, value: float) -> str:
    r"""One line: a name, its labels and a value.

    >>> sample("shroff_x", {"route": 'a"b'}, 2.0)
    'shroff_x{route="a\\"b"} 2'
    """
    shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{shown}}} {value:.9g}" if shown else f"{name} {value:.9g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
