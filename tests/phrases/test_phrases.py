"""Canned lines, end to end: rendered ahead by a slow engine, heard at once at the sink."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from koe.transport.connection import Refused
from koed.testing.rig import Rig, Watch, rig
from tests.rigs import hearing
from tests.rigs.waiting import wait_for

CHAR_S = 0.025
SLOW_MS = 300
"""The engine's first chunk comes so late."""
HELLO = "hello everybody, welcome to the stream"
STORY = " ".join(["a phrase that goes on for quite a while unless it is ended"] * 8)
"""12 seconds: it is always ended, however late."""
PATIENCE_S = 40.0
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
    "phrases": {
        "hello": HELLO,
        "short": {"text": "thank you", "voices": ["nobody"]},
        "story": STORY,
    },
    "phrase_cache": {"idle_s": 0.05},
    "engine": {"failover_wait_s": 60, "stall_s": 60},
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
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = {phrase.name: phrase for phrase in daemon.client.phrases()}
        if name in found and set(voices) <= set(found[name].voices):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def engine(daemon: Rig) -> dict[str, Any]:
    told: dict[str, Any] = daemon.client.status()["engines"]["tone"]
    return told


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """This engine does nothing: what is heard meanwhile did not wait for it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def order(daemon: Rig, began: float) -> list[str]:
    return hearing.order(hearing.voices(daemon.sound(began), HZ))


def test_a_phrase_does_not_wait_for_its_engine(daemon: Rig, watch: Watch) -> None:
    began = time.monotonic()
    with frozen(engine(daemon)["pid"]):
        said = daemon.client.phrase("hello")
        assert said.canned
        watch.wait("utterance.finished", said.utterance)
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
    with frozen(engine(daemon)["pid"]):
        said = daemon.client.say(f"  {HELLO} ", voice="high")
        watch.wait("utterance.finished", said.utterance)
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
    began = time.monotonic()
    with frozen(fresh_engine(daemon)):
        said = daemon.client.phrase("hello")
        watch.wait("utterance.finished", said.utterance)
        assert engine(daemon)["state"] == "starting"
    assert order(daemon, began) == ["low"]
    wait_for(lambda: engine(daemon)["state"] == "up", PATIENCE_S, "it is back")


def fresh_engine(daemon: Rig) -> int:
    """The engine is killed; the one that comes after it, stopped before it can speak."""

    def starting() -> int | None:
        pid = int(engine(daemon)["pid"] or 0)
        if pid:
            with contextlib.suppress(ProcessLookupError):  # it is gone, and koed has yet to see it
                os.kill(pid, signal.SIGSTOP)
                told = engine(daemon)
                if (told["state"], told["pid"]) == ("starting", pid):
                    return pid
                os.kill(pid, signal.SIGKILL)  # it was quicker
        return None

    return int(wait_for(starting, PATIENCE_S, "it starts again"))


def test_a_phrase_can_be_cut_and_changes_its_voice_in_mid_word(daemon: Rig, watch: Watch) -> None:
    wait_ready(daemon, "story", "low", "high")
    said = daemon.client.phrase("story")
    watch.wait("utterance.started", said.utterance)
    daemon.client.skip()
    skipped: Any = watch.wait("utterance.skipped", said.utterance)
    assert skipped.reason == "skip"
    time.sleep(0.1)
    began = time.monotonic()
    said = daemon.client.phrase("story")
    assert said.canned
    wait_for(lambda: order(daemon, began) == ["low"], PATIENCE_S, "it is heard")
    daemon.client.set_voice("high", "now")
    wait_for(lambda: "high" in order(daemon, began), PATIENCE_S, "the other voice")
    assert order(daemon, began) == ["low", "high"]


def test_what_is_rendered_gives_way_to_a_line(tmp_path: Path) -> None:
    """A long phrase is being rendered, slowly; a line comes, and is not behind it."""
    long = "many words that need their time, " * 3
    config = CONFIG | {"phrases": {"long": long}, "phrase_cache": {"idle_s": 0}}
    slow = tone(400, delay_ms=0, chunk_ms=25, chunk_delay_ms=60)
    with rig(config, {"low": slow}, environ={"XDG_CACHE_HOME": str(tmp_path)}) as running:
        running.wait_ready()
        watching = running.watch("utterance.", "phrase.")

        def rendering() -> Any:
            return running.client.status()["companions"]["phrases"]["rendering"]

        wait_for(rendering, PATIENCE_S, "it is being rendered")
        said = running.client.say(" ".join(["a line that is not behind it"] * 20))
        watching.wait("utterance.started", said.utterance)
        assert rendering() is None
        running.client.skip()
        skipped = watching.wait("utterance.skipped", said.utterance)
        assert watching.wait("phrase.ready").seq > skipped.seq
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
    with frozen(engine(daemon)["pid"]):
        watch.wait("utterance.finished", daemon.client.phrase("hello").utterance)
    assert order(daemon, began) == ["new"]

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
        deadline = time.monotonic() + PATIENCE_S
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
