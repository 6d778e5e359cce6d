"""Canned lines, end to end: rendered ahead by a slow engine, heard at once at the sink."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from koe.link import Refused
from koed.bench.rig import Rig, Watch, rig
from tests.daemon import hearing

CHAR_S = 0.025
SLOW_MS = 900
"""The engine's first chunk comes so late; a canned line does not wait for it."""
HELLO = "hello everybody, welcome to the stream"
HZ = {"low": 400.0, "high": 1000.0, "new": 700.0}


def tone(hz: int, **settings: Any) -> dict[str, Any]:
    return {
        "engine": "tone",
        "lang": "en",
        "settings": {"hz": hz, "char_ms": 1000 * CHAR_S, "amplitude": 0.25, "delay_ms": SLOW_MS}
        | settings,
    }


CONFIG: dict[str, Any] = {
    "voice": "low",
    "queue": {"line_pause_s": 0.05},
    "phrases": {"hello": HELLO, "short": {"text": "thank you", "voices": ["nobody"]}},
    "phrase_cache": {"idle_s": 0.05},
    "engine": {"failover_wait_s": 10},
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def daemon(cache: dict[str, str]) -> Iterator[Rig]:
    with rig(CONFIG, {"low": tone(400), "high": tone(1000)}, environ=cache) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def watch(daemon: Rig) -> Iterator[Watch]:
    watching = daemon.watch("utterance.", "phrase.", "engine.", "trouble", "voice.")
    wait_ready(daemon, "hello", "low", "high")
    yield watching
    daemon.client.stop()
    daemon.client.set_voice("low")
    watching.close()


def wait_ready(daemon: Rig, name: str, *voices: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        found = {phrase.name: phrase for phrase in daemon.client.phrases()}
        if name in found and set(voices) <= set(found[name].voices):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def onset_s(daemon: Rig, began: float) -> float:
    onset_t = daemon.sound(began).onset_t(began)
    assert onset_t is not None
    return onset_t - began


def order(daemon: Rig, began: float) -> list[str]:
    return hearing.order(hearing.voices(daemon.sound(began), HZ))


def test_a_phrase_does_not_wait_for_its_engine(daemon: Rig, watch: Watch) -> None:
    began = time.monotonic()
    said = daemon.client.phrase("hello")
    assert said.canned
    watch.wait("utterance.finished", said.utterance)
    assert onset_s(daemon, began) < 0.8 * SLOW_MS / 1000
    windows = hearing.voices(daemon.sound(began), HZ)
    assert hearing.order(windows) == ["low"]
    assert hearing.seconds(windows, "low") == pytest.approx(CHAR_S * len(HELLO), abs=0.06)
    words: list[Any] = [e for e in watch.events if e.event == "utterance.progress"]
    assert [word.text.strip(",") for word in words] == HELLO.replace(",", "").split()
    for word in words:
        assert HELLO[word.start : word.end] == word.text
        at_s = word.heard_t - words[0].heard_t
        assert at_s == pytest.approx(CHAR_S * word.start, abs=0.25)  # pauses between the segments


def test_the_same_words_said_as_a_line_do_not_wait_either(daemon: Rig, watch: Watch) -> None:
    began = time.monotonic()
    said = daemon.client.say(f"  {HELLO} ", voice="high")
    watch.wait("utterance.finished", said.utterance)
    assert onset_s(daemon, began) < 0.8 * SLOW_MS / 1000
    assert order(daemon, began) == ["high"]


def test_a_phrase_not_rendered_in_a_voice_is_spoken_by_it(daemon: Rig, watch: Watch) -> None:
    began = time.monotonic()
    said = daemon.client.phrase("short", voice="high")
    assert not said.canned
    watch.wait("utterance.finished", said.utterance)
    assert order(daemon, began) == ["high"]
    with pytest.raises(Refused) as refused:
        daemon.client.phrase("helo")
    assert refused.value.code == "unknown_phrase"


def test_a_phrase_is_heard_while_its_engine_is_dead(daemon: Rig, watch: Watch) -> None:
    os.kill(daemon.client.status()["engines"]["tone"]["pid"], signal.SIGKILL)
    watch.wait("engine.down")
    began = time.monotonic()
    said = daemon.client.phrase("hello")
    started = watch.wait("utterance.started", said.utterance)
    assert started.seq < watch.wait("engine.up").seq
    watch.wait("utterance.finished", said.utterance)
    assert order(daemon, began) == ["low"]


def test_a_phrase_can_be_cut_and_changes_its_voice_in_mid_word(daemon: Rig, watch: Watch) -> None:
    said = daemon.client.phrase("hello")
    watch.wait("utterance.started", said.utterance)
    daemon.client.skip()
    skipped: Any = watch.wait("utterance.skipped", said.utterance)
    assert skipped.reason == "skip"
    time.sleep(0.1)
    began = time.monotonic()
    said = daemon.client.phrase("hello")
    watch.wait("utterance.started", said.utterance)
    time.sleep(0.2)
    daemon.client.set_voice("high", "now")
    watch.wait("utterance.finished", said.utterance)
    assert order(daemon, began) == ["low", "high"]


def test_what_is_rendered_gives_way_to_a_line(tmp_path: Path) -> None:
    """A long phrase is being rendered, slowly; a line comes, and is not behind it."""
    long = "many words that need their time, " * 3
    config = CONFIG | {"phrases": {"long": long}, "phrase_cache": {"idle_s": 0}}
    slow = tone(400, delay_ms=0, chunk_ms=25, chunk_delay_ms=60)
    with rig(config, {"low": slow}, environ={"XDG_CACHE_HOME": str(tmp_path)}) as running:
        running.wait_ready()
        watching = running.watch("utterance.", "phrase.")
        deadline = time.monotonic() + 20
        while running.client.status()["companions"]["phrases"]["rendering"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        said = running.client.say("a line that is not behind it")
        watching.wait("utterance.started", said.utterance)
        assert running.client.status()["companions"]["phrases"]["rendering"] is None
        finished = watching.wait("utterance.finished", said.utterance)
        assert watching.wait("phrase.ready").seq > finished.seq
        watching.close()


def test_edits_are_heard_and_the_old_sound_never(daemon: Rig, watch: Watch) -> None:
    profile = daemon.folder / "profiles" / "low.yaml"
    before = profile.read_text()
    watch.events.clear()
    profile.write_text(yaml.safe_dump(tone(700)))
    daemon.client.reload()
    watch.wait("voice.ready")
    wait_ready(daemon, "hello", "low")
    began = time.monotonic()
    watch.wait("utterance.finished", daemon.client.phrase("hello").utterance)
    assert order(daemon, began) == ["new"]
    assert onset_s(daemon, began) < 0.8 * SLOW_MS / 1000

    settings = daemon.folder / "koed.yaml"
    config = yaml.safe_load(settings.read_text())
    config["phrases"] = {"hello": "something else"}
    settings.write_text(yaml.safe_dump(config))
    assert {"hello", "short"} <= set(daemon.client.reload().changed)
    assert [phrase.name for phrase in daemon.client.phrases()] == ["hello"]
    wait_ready(daemon, "hello", "low")
    said = daemon.client.phrase("hello")
    started: Any = watch.wait("utterance.started", said.utterance)
    assert (said.canned, started.text) == (True, "something else")
    settings.write_text(settings.read_text().replace("hello:", "hello"))
    assert "as they were" in daemon.client.reload().errors[0]
    assert [phrase.name for phrase in daemon.client.phrases()] == ["hello"]
    config["phrases"] = CONFIG["phrases"]
    settings.write_text(yaml.safe_dump(config))
    profile.write_text(before)
    daemon.client.reload()


def test_the_next_daemon_has_them_from_disk(cache: dict[str, str], daemon: Rig) -> None:
    wait_ready(daemon, "hello", "low")
    never_idle = CONFIG | {"phrase_cache": {"idle_s": 3600}}
    with rig(never_idle, {"low": tone(400)}, environ=cache) as running:
        running.wait_ready()
        wait_ready(running, "hello", "low")
        assert running.client.phrase("hello").canned
        log = running.log()
    files = list(Path(cache["XDG_CACHE_HOME"]).glob("koed/phrases/*.take"))
    assert files, log
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)


def test_a_phrase_that_ends_its_engine_is_left_alone(tmp_path: Path) -> None:
    config = CONFIG | {"phrases": {"bad": "please crash now", "no": "please fail", "good": "fine"}}
    config["phrase_cache"] = {"idle_s": 0}
    voice = tone(400, delay_ms=0, crash_on="crash", fail_on="fail")
    with rig(config, {"low": voice}, environ={"XDG_CACHE_HOME": str(tmp_path)}) as running:
        running.wait_ready()
        wait_ready(running, "good", "low")
        deadline = time.monotonic() + 30
        while True:
            failed = {p.name: p.raw["failed"] for p in running.client.phrases()}
            if failed["bad"] and failed["no"]:
                break
            assert time.monotonic() < deadline, failed
            time.sleep(0.05)
        restarts = running.client.status()["engines"]["tone"]["restarts"]
        assert restarts == 2
        time.sleep(1.0)
        assert running.client.status()["engines"]["tone"]["restarts"] == restarts
