"""The counters and the loopback server."""

from __future__ import annotations

import sys
import threading
import urllib.request

import pytest

from koe.protocol import (
    EngineDown,
    EngineFallback,
    EngineRetry,
    UtteranceDropped,
    UtteranceFinished,
)
from koed.errors import ConfigError
from koed.service import metrics
from koed.service.metrics import Counters


def test_events_are_counted() -> None:
    counters = Counters()
    for event in (
        UtteranceFinished(utterance=1, output="main", spoken_s=1.5, starved_s=0.25),
        UtteranceFinished(utterance=2, output="main", spoken_s=0.5),
        UtteranceDropped(utterance=3, output="main", reason="expired"),
        EngineDown(engine="tone", code="worker_killed", message=""),
        EngineRetry(utterance=4, engine="tone", voice="low", code="speech_leak"),
        EngineFallback(utterance=4, voice="low", fallback="high", reason=""),
    ):
        counters.listen(event)
    assert counters.value("koed_lines", outcome="finished", reason="") == 2
    assert counters.value("koed_lines", outcome="dropped", reason="expired") == 1
    assert counters.value("koed_spoken_seconds") == 2.0
    assert counters.value("koed_starved_seconds") == 0.25
    assert counters.value("koed_engine_ends", engine="tone", code="worker_killed") == 1
    assert counters.value("koed_engine_retries", engine="tone", code="speech_leak") == 1
    assert counters.value("koed_engine_fallbacks", voice="low") == 1


def test_a_misspelt_metric_fails() -> None:
    counters = Counters()
    with pytest.raises(KeyError):
        counters.count("koed_linse")
    with pytest.raises(AssertionError, match="labels"):
        counters.count("koed_lines", outcome="finished")
    with pytest.raises(AssertionError, match="is a gauge"):
        counters.count("koed_waiting_lines")


def served(server: metrics.MetricsServer) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=40) as page:
        text: str = page.read().decode()
    return text


def test_text_over_http_at_loopback_only() -> None:
    counters = Counters()
    server = metrics.serve(0, counters.samples)
    try:
        counters.count("koed_lines", 3, outcome="dropped", reason='a "b"\n')
        counters.gauge("koed_waiting_lines", 7)
        text = served(server)
        assert 'koed_lines_total{outcome="dropped",reason="a \\"b\\"\\n"} 3.0' in text
        assert "# HELP koed_waiting_lines Lines in the queue\n" in text
        assert "koed_waiting_lines 7.0" in text
        assert server._server.server_address[0] == "127.0.0.1"
        with pytest.raises(ConfigError) as caught:
            metrics.serve(server.port, counters.samples)
        assert caught.value.code == "metrics_port"
    finally:
        server.close()
    again = metrics.serve(server.port, counters.samples)
    again.close()


def test_every_declared_metric_renders() -> None:
    counters = Counters()
    for name, metric in metrics.METRICS.items():
        write = counters.count if metric.kind == "counter" else counters.gauge
        write(name, 1.0, **dict.fromkeys(metric.labels, "x"))
    server = metrics.serve(0, counters.samples)
    text = served(server)
    server.close()
    for name, metric in metrics.METRICS.items():
        assert f"# HELP {name}" in text
        assert f"# TYPE {name}{'_total' if metric.kind == 'counter' else ''} {metric.kind}" in text


def test_counting_while_somebody_reads() -> None:
    counters, stop = Counters(), threading.Event()
    failures: list[Exception] = []

    def read() -> None:
        while not stop.is_set():
            try:
                counters.samples()
            except RuntimeError as error:  # "dictionary changed size during iteration"
                failures.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        reader = threading.Thread(target=read)
        reader.start()
        for number in range(20_000):
            counters.count("koed_troubles", code=f"c{number}")
        stop.set()
        reader.join()
    finally:
        sys.setswitchinterval(before)
    assert failures == []
    assert len(counters.samples()) == 20_000


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError) as caught:
        metrics.serve(0, list)
    assert caught.value.code == "no_prometheus_client"
    assert "koed[metrics]" in caught.value.hint
