"""Metric families and their text in Prometheus' formats.

prometheus-client makes two objects for each sample: up to 26,000 objects, which the garbage collector would walk on
every third page. Here a sample is only a line. Tests compare the text with the output of prometheus-client
(docs/decisions/0035-service.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec import field
from prometheus_client.utils import floatToGoString

from shroff.runtime.values import FrozenStruct
from shroff.worker.serving.counts import Buckets, Latencies

SERIES_MAX = 500  # per family; further rules, models and sinks are left out
Samples = Mapping[Any, float]  # value by the tuple of its label values
_number: Final[Callable[[float], str]] = floatToGoString
Exemplar = tuple[str, float, float]  # trace id, value, time in seconds since 1970


class Collector(Protocol):
    """A source of metrics."""

    def collect(self) -> Iterator[Family]:
        """Yield the current families. Called from any thread."""


class Family(FrozenStruct):
    """A metric with one sample for each combination of label values: a number, or a histogram.

    Args:
        type: `gauge`, `counter` or `histogram`.
        samples: By the tuple of label values.
        exemplars: Examples of a histogram's buckets, by upper bound.
    """

    name: str
    type: str
    documentation: str
    labels: Sequence[str] = ()
    samples: Mapping[Any, Any] = field(default_factory=dict)
    exemplars: Mapping[str, Exemplar] = field(default_factory=dict)

    def text(self, *, is_open: bool) -> str:
        """Return the lines of at most `SERIES_MAX` samples in OpenMetrics, or in the older text format."""
        name = f"{self.name}_total" if self.type == "counter" else self.name
        header = self.name if is_open else name
        meaning = (_escaped if is_open else _on_one_line)(self.documentation)
        lines = [f"# HELP {header} {meaning}", f"# TYPE {header} {self.type}"]
        for values, sample in sorted(self.samples.items(), key=lambda sample: sample[0])[:SERIES_MAX]:
            labels = sorted(f'{label}="{_escaped(value)}"' for label, value in zip(self.labels, values, strict=True))
            if self.type == "histogram":
                lines += self._of_histogram(labels, sample, self.exemplars if is_open else {})
            else:
                lines.append(f"{name}{_braced(labels)} {_number(sample)}")
        return "\n".join([*lines, ""])

    def _of_histogram(
        self, labels: Sequence[str], buckets: Latencies | Buckets, exemplars: Mapping[str, Exemplar]
    ) -> Iterator[str]:
        before = "".join(f"{label}," for label in labels if label < "le=")
        after = "".join(f",{label}" for label in labels if label > "le=")
        count: float = 0
        for bound, count in buckets.shown():
            line = f'{self.name}_bucket{{{before}le="{bound}"{after}}} {_number(count)}'
            if bound in exemplars:
                trace_id, value, at_s = exemplars[bound]
                line += f' # {{trace_id="{trace_id}"}} {_number(value)} {at_s}'
            yield line
        yield f"{self.name}_count{_braced(labels)} {_number(count)}"
        yield f"{self.name}_sum{_braced(labels)} {_number(buckets.sum)}"


def _braced(labels: Sequence[str]) -> str:
    return f"{{{','.join(labels)}}}" if labels else ""


def _escaped(text: str) -> str:
    return _on_one_line(text).replace('"', r"\"")


def _on_one_line(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def gauge(name: str, meaning: str, value: float | None) -> Family:
    """Return a metric without labels; it has no sample if `value` is None."""
    return Family(name, "gauge", meaning, samples={} if value is None else {(): value})


def counter(name: str, meaning: str, value: float) -> Family:
    return counters(name, meaning, (), {(): value})


def gauges(name: str, meaning: str, labels: Sequence[str], samples: Samples) -> Family:
    return Family(name, "gauge", meaning, labels, samples)


def counters(name: str, meaning: str, labels: Sequence[str], samples: Samples) -> Family:
    return Family(name.removesuffix("_total"), "counter", meaning, labels, samples)


def histograms(name: str, meaning: str, labels: Sequence[str], buckets: Mapping[Any, Latencies | Buckets]) -> Family:
    return Family(name, "histogram", meaning, labels, buckets)
