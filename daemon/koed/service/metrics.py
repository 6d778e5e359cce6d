"""What koed counts, and Prometheus text of it at a loopback port if somebody asks for it.

The main thread counts, without locks; the server's thread only copies. Names are declared here
once, so that a misspelt one fails instead of becoming a second metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from koe.protocol import (
    EngineDown,
    EngineFallback,
    EngineRetry,
    EngineUp,
    Event,
    Trouble,
    UtteranceFinished,
)
from koed.errors import ConfigError
from koed.events import LineEnd, outcome

if TYPE_CHECKING:
    from prometheus_client.core import Metric as PrometheusMetric


@dataclass(frozen=True, slots=True)
class Metric:
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    "koed_lines": Metric("counter", "Lines that are over", ("outcome", "reason")),
    "koed_spoken_seconds": Metric("counter", "Speech that was heard to its end"),
    "koed_starved_seconds": Metric("counter", "Silence because an engine was late"),
    "koed_engine_starts": Metric("counter", "Engine workers that became ready", ("engine",)),
    "koed_engine_ends": Metric("counter", "Engine workers that were lost", ("engine", "code")),
    "koed_engine_retries": Metric(
        "counter", "Pieces of lines that went wrong and were made again", ("engine", "code")
    ),
    "koed_engine_fallbacks": Metric("counter", "Lines that another voice went on with", ("voice",)),
    "koed_troubles": Metric("counter", "Faults outside that koed lives with", ("code",)),
    "koed_underruns": Metric("counter", "Blocks that the device got too late", ("output",)),
    "koed_faults": Metric(
        "counter",
        "Errors that cost a moment of sound: of mixer, device, samples",
        ("output", "kind"),
    ),
    "koed_stuck": Metric("counter", "Times that an output stood still for no reason"),
    "koed_audible": Metric("gauge", "1 while what is spoken can be heard", ("output",)),
    "koed_waiting_lines": Metric("gauge", "Lines in the queue"),
    "koed_speaking_lines": Metric("gauge", "Lines that sound"),
    "koed_worker_resident_bytes": Metric("gauge", "Memory of an engine worker", ("engine",)),
    "koed_uptime_seconds": Metric("gauge", "Time since the start"),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """``labels``: values in the order of `Metric.labels`."""

    name: str
    labels: tuple[str, ...]
    value: float


class Counters:
    """Numbers by name and labels. One thread writes; `samples` may be called from any."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, tuple[str, ...]], float] = {}

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        key = _key(name, labels, "counter")
        self._values[key] = self._values.get(key, 0) + amount

    def total(self, name: str, value: float, **labels: str) -> None:
        """What is counted elsewhere."""
        self._values[_key(name, labels, "counter")] = value

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self._values[_key(name, labels, "gauge")] = value

    def value(self, name: str, **labels: str) -> float:
        return self._values.get(_key(name, labels, METRICS[name].kind), 0)

    def samples(self) -> list[Sample]:
        values = self._values.copy()  # one step for the interpreter, so a whole picture
        return [Sample(name, labels, value) for (name, labels), value in values.items()]

    def listen(self, event: Event) -> None:
        """Count what the bus tells."""
        if isinstance(event, LineEnd):
            how, why = outcome(event)
            self.count("koed_lines", outcome=how, reason=why)
        match event:
            case UtteranceFinished():
                self.count("koed_spoken_seconds", event.spoken_s)
                self.count("koed_starved_seconds", event.starved_s)
            case EngineUp():
                self.count("koed_engine_starts", engine=event.engine)
            case EngineDown():
                self.count("koed_engine_ends", engine=event.engine, code=event.code)
            case EngineRetry():
                self.count("koed_engine_retries", engine=event.engine, code=event.code)
            case EngineFallback():
                self.count("koed_engine_fallbacks", voice=event.voice)
            case Trouble():
                self.count("koed_troubles", code=event.code)


def _key(name: str, labels: dict[str, str], kind: str) -> tuple[str, tuple[str, ...]]:
    metric = METRICS[name]
    assert metric.kind == kind, f"{name} is a {metric.kind}"
    assert labels.keys() == set(metric.labels), f"{name} has the labels {metric.labels}"
    return name, tuple(labels[label] for label in metric.labels)


# --- Prometheus ------------------------------------------------------------------------------

Snapshot = Callable[[], Iterable[Sample]]
"""Called in the server's thread: it must only copy, never touch a socket or a queue."""


class _Collector:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> list[PrometheusMetric]:
        """Nothing in advance: the library would otherwise take a snapshot to register."""
        return []

    def collect(self) -> Iterator[PrometheusMetric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        families: dict[str, Any] = {}
        for sample in self._snapshot():
            metric = METRICS[sample.name]
            family = families.get(sample.name)
            if family is None:
                kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                family = kind(sample.name, metric.help, labels=metric.labels)
                families[sample.name] = family
            family.add_metric(sample.labels, sample.value)
        yield from families.values()


class MetricsServer:
    """HTTP at 127.0.0.1 in a thread of its own, until `close`."""

    def __init__(self, server: Any, thread: Any) -> None:
        self._server = server
        self._thread = thread
        self.port: int = server.server_port

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=2.0)


def serve(port: int, snapshot: Snapshot) -> MetricsServer:
    """Raises `ConfigError`: ``no_prometheus_client`` if the extra is not installed,
    ``metrics_port`` if the port is taken."""
    registry = _registry(snapshot)
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise ConfigError(
            "metrics_port",
            f"metrics_port: cannot listen at 127.0.0.1:{port}: {error.strerror}",
            "choose another port, or leave metrics_port out",
        ) from error
    return MetricsServer(server, thread)


def _registry(snapshot: Snapshot) -> Any:
    try:
        from prometheus_client import CollectorRegistry
    except ImportError as error:
        raise ConfigError(
            "no_prometheus_client",
            "metrics_port needs the library prometheus_client",
            "pip install 'koed[metrics]', or leave metrics_port out",
        ) from error
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(snapshot))
    return registry
