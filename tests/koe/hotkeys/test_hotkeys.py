"""Real key events on a real X server, `koe hotkeys` as a process, and a real daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import xcffib
import xcffib.xproto
import yaml

from koe.hotkeys.keynames import keysym
from koed.testing.rig import Rig, Watch, rig
from tests.rigs import hearing
from tests.rigs.waiting import wait_for
from tools.counterparts.xserver import XServer

LONG = " ".join(["a line that goes on for quite a while unless somebody ends it"] * 12)
"""18 seconds: it is always ended, however late."""
TAP_S = 2.0
"""So far apart that a machine which stands still for a moment makes no hold of a tap."""
PATIENCE_S = 40.0
KEYS: dict[str, Any] = {
    "F1": "voice high",
    "ctrl+alt+1": "voice high",
    "F2": "phrase hello",
    "F3": "say spoken by a key",
    "F4": "clipboard",
    "F5": "stop",
    "F6": "skip",
    "F7": "pause",
    "F8": "mute",
    "F9": "panic",
    "F10": "release",
    "F11": {"do": "voice high", "how": "hold"},
    "F12": f"say {LONG}",
    "p": "mode chat_muted",
}


def tone(hz: int, **settings: Any) -> dict[str, Any]:
    values = {"hz": hz, "char_ms": 25, "amplitude": 0.25} | settings
    return {"engine": "tone", "lang": "en", "settings": values}


CONFIG: dict[str, Any] = {
    "voice": "low",
    "phrases": {"hello": "hello there"},
    "phrase_cache": {"idle_s": 0.05},
    "queue": {"line_pause_s": 0.05},
    "hotkeys": {"keys": KEYS, "clipboard_chars": 40, "tap_ms": 1000 * TAP_S},
}
PROFILES = {"low": tone(400), "high": tone(1000)}


class Keys:
    """`koe hotkeys --json` as a process; ``told`` are its lines."""

    def __init__(self, config: Path, directory: Path, screen: XServer, *more: str) -> None:
        self.told: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "koe.cli", "hotkeys", "--json",
                "--config", str(config), "--runtime-dir", str(directory), *more,
            ],
            env=os.environ | screen.env, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(json.loads(line))

    def wait(self, event: str, after: int = 0, **fields: Any) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            wanted = {"event": event} | fields
            return next((m for m in self.told[after:] if wanted.items() <= m.items()), None)

        told: dict[str, Any] = wait_for(found, PATIENCE_S, f"{event} {fields}")
        return told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self._thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    cache = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    with rig(CONFIG, PROFILES, environ=cache) as running:
        running.wait_ready()
        wait_for(
            lambda: "high" in running.client.phrases()[0].voices, PATIENCE_S, "the phrase is ready"
        )
        yield running


@pytest.fixture(scope="module")
def running_keys(daemon: Rig, screen: XServer) -> Iterator[Keys]:
    with Keys(daemon.folder / "koed.yaml", daemon.folder / "run", screen) as keys:
        assert keys.wait("ready")["bound"] == len(KEYS)
        mute_until_it_follows(daemon, screen)
        yield keys


def mute_until_it_follows(daemon: Rig, screen: XServer) -> None:
    """Its connection stands and it knows the daemon when a key acts twice as it should."""

    def tapped(muted: bool) -> bool:
        screen.key("F8")
        time.sleep(0.3)
        return is_muted(daemon) == muted

    wait_for(lambda: tapped(True), PATIENCE_S, "the first key is obeyed")
    wait_for(lambda: tapped(False), PATIENCE_S, "and the second")
    # one that came too late for its look may be under way; what it sends keeps its order
    screen.key("F10")
    screen.down("F11")
    wait_voice(daemon, "high")
    screen.up("F11")
    wait_voice(daemon, "low")
    assert not is_muted(daemon)


def is_muted(daemon: Rig) -> bool:
    return daemon.client.status()["outputs"]["main"]["held"] in ("muted", "panic")


@pytest.fixture
def watch(daemon: Rig, running_keys: Keys) -> Iterator[Watch]:
    watching = daemon.watch("utterance.", "voice.", "state", "mode.")
    yield watching
    daemon.client.unmute()
    daemon.client.resume()
    daemon.client.stop()
    daemon.client.set_voice("low")
    watching.close()


def wait_voice(daemon: Rig, voice: str) -> None:
    wait_for(lambda: daemon.client.voice() == voice, PATIENCE_S, f"the voice is {voice}")


def test_a_tap_stays_and_a_hold_goes_back(daemon: Rig, screen: XServer, watch: Watch) -> None:
    screen.key("ctrl+alt+1")
    wait_voice(daemon, "high")
    time.sleep(0.3)
    screen.key("ctrl+alt+1")
    wait_voice(daemon, "low")
    time.sleep(0.3)
    since = time.monotonic()
    screen.down("F1")
    wait_voice(daemon, "high")
    time.sleep(TAP_S + 0.1)  # by now it repeats itself, 25 times a second
    assert daemon.client.voice() == "high"
    screen.up("F1")
    wait_voice(daemon, "low")

    def changes() -> list[str]:
        told: list[Any] = [e for e in watch.events if e.event == "voice.changed"]
        return [change.voice for change in told if change.t > since]

    wait_for(lambda: changes()[-1:] == ["low"], PATIENCE_S, "it is told")
    assert changes() == ["high", "low"]


def test_other_keys_pass_while_one_is_held(daemon: Rig, screen: XServer, watch: Watch) -> None:
    """A player walks on while the voice key is down: the keyboard is not taken away."""
    screen.down("F11")
    wait_voice(daemon, "high")
    connection = xcffib.connect(screen.display)
    mode = xcffib.xproto.GrabMode.Async
    root = connection.get_setup().roots[0].root

    def taken() -> bool:  # not at once: with each repetition of the key it is given back anew
        answer = connection.core.GrabKeyboard(False, root, 0, mode, mode).reply()
        return bool(answer.status == xcffib.xproto.GrabStatus.Success)

    wait_for(taken, PATIENCE_S, "the keyboard is free while the key is down")
    connection.disconnect()
    screen.up("F11")
    wait_voice(daemon, "low")


def test_keys_speak(daemon: Rig, screen: XServer, watch: Watch) -> None:
    screen.key("F3")
    said: Any = watch.wait("utterance.finished")
    started: Any = watch.wait("utterance.started", said.utterance)
    assert started.text == "spoken by a key"
    began = screen.key("F2")
    watch.wait("utterance.finished", said.utterance + 1)
    assert hearing.order(hearing.voices(daemon.sound(began), {"low": 400.0})) == ["low"]


@pytest.mark.parametrize("text", ["from the\n clipboard", "many words " * 40_000, "日本語です"])
def test_the_clipboard_is_said(daemon: Rig, screen: XServer, watch: Watch, text: str) -> None:
    """The second one comes in pieces, and is cut at a word."""
    owner = screen.clipboard(text)
    wait_for(lambda: owns_clipboard(screen), PATIENCE_S, "the clipboard is owned")
    screen.key("F4")
    queued: Any = watch.wait("utterance.queued")
    whole = " ".join(text.split())
    assert queued.text == (whole if len(whole) <= 40 else "many words " * 3 + "many")
    owner.kill()
    owner.wait()  # or the next test asks the clipboard of somebody who is about to end


def owns_clipboard(screen: XServer) -> bool:
    done = subprocess.run(
        ["xclip", "-selection", "clipboard", "-o"],
        env=os.environ | screen.env, capture_output=True, timeout=PATIENCE_S,
    )  # fmt: skip
    return done.returncode == 0


def test_a_hung_clipboard_holds_up_no_key(
    daemon: Rig, screen: XServer, watch: Watch, running_keys: Keys
) -> None:
    import signal

    owner = screen.clipboard("never given")
    wait_for(lambda: owns_clipboard(screen), PATIENCE_S, "the clipboard is owned")
    owner.send_signal(signal.SIGSTOP)
    before = len(running_keys.told)
    screen.key("F4")
    running_keys.wait("pressed", before, key="F4")
    screen.key("F8")
    wait_for(lambda: is_muted(daemon), PATIENCE_S, "another key works")
    running_keys.wait("problem", before, code="clipboard_silent")
    owner.kill()
    owner.wait()


def test_stop_skip_and_pause(daemon: Rig, screen: XServer, watch: Watch) -> None:
    for key, reason in (("F6", "skip"), ("F5", "stop")):
        watch.events.clear()
        screen.key("F12")
        started: Any = watch.wait("utterance.started")
        screen.key(key)
        skipped: Any = watch.wait("utterance.skipped", started.utterance)
        assert skipped.reason == reason
    screen.key("F7")
    wait_for(lambda: is_paused(daemon), PATIENCE_S, "paused")
    time.sleep(0.3)
    screen.key("F7")
    wait_for(lambda: not is_paused(daemon), PATIENCE_S, "resumed")


def is_paused(daemon: Rig) -> bool:
    return bool(daemon.client.status()["outputs"]["main"]["paused"])


def test_panic_silences_until_it_is_released(daemon: Rig, screen: XServer, watch: Watch) -> None:
    screen.key("F12")
    said: Any = watch.wait("utterance.started")
    waiting = daemon.client.say("never heard").utterance
    screen.key("F9")
    watch.wait("utterance.skipped", said.utterance)
    watch.wait("utterance.dropped", waiting)
    wait_for(lambda: is_muted(daemon), PATIENCE_S, "muted")
    time.sleep(0.2)
    began = time.monotonic()
    screen.key("F8")  # the mute key lies beside it
    screen.key("F2")
    screen.key("F9")
    time.sleep(0.5)
    assert is_muted(daemon)
    assert daemon.sound(began).onset_t(began) is None
    late = daemon.client.say("came while all was silent").utterance
    screen.key("F10")
    wait_for(lambda: not is_muted(daemon), PATIENCE_S, "released")
    watch.wait("utterance.dropped", late)
    watch.events.clear()
    screen.key("F2")
    watch.wait("utterance.finished")


def test_a_key_works_whatever_the_locks(daemon: Rig, screen: XServer, watch: Watch) -> None:
    for lock in ("Num_Lock", "Caps_Lock"):
        screen.key(lock)
        watch.events.clear()
        screen.key("F6")
        screen.key("F2")
        watch.wait("utterance.finished")
    for lock in ("Num_Lock", "Caps_Lock"):
        screen.key(lock)


def test_a_changed_layout_is_followed(
    daemon: Rig, screen: XServer, watch: Watch, running_keys: Keys
) -> None:
    """On a Dvorak keyboard, p lies where r is on others."""
    before = len(running_keys.told)
    screen.lay_out("-layout", "us", "-variant", "dvorak")
    running_keys.wait("ready", before)
    screen.key("p")  # xdotool looks for the key that gives a p
    wait_for(lambda: daemon.client.mode() == "chat_muted", PATIENCE_S, "the new place works")
    before = len(running_keys.told)
    screen.lay_out("-layout", "us")
    running_keys.wait("ready", before)
    screen.key("p")
    wait_for(lambda: daemon.client.mode() == "speak", PATIENCE_S, "the old place works again")


def test_a_key_that_somebody_else_has(daemon: Rig, screen: XServer, tmp_path: Path) -> None:
    """It is told, the others work, and it is taken when it becomes free."""
    config = tmp_path / "koed.yaml"
    keys = {"shift+F1": "skip", "shift+F2": "stop", "Nokey": "stop", "exclam": "stop"}
    config.write_text(yaml.safe_dump({"hotkeys": {"keys": keys}}))
    other = xcffib.connect(screen.display)
    setup = other.get_setup()
    mapping = other.core.GetKeyboardMapping(8, 200).reply()
    place = list(mapping.keysyms).index(keysym("F1")) // mapping.keysyms_per_keycode + 8
    mode = xcffib.xproto.GrabMode.Async
    other.core.GrabKeyChecked(False, setup.roots[0].root, 1, place, mode, mode).check()
    with Keys(config, daemon.folder / "run", screen) as running:
        assert running.wait("ready")["bound"] == 1
        taken = running.wait("unusable", key="shift+F1")
        assert (taken["code"], taken["line"]) == ("taken", 5)
        assert running.wait("unusable", key="Nokey")["code"] == "no_such_key"
        assert "shift+1" in running.wait("unusable", key="exclam")["hint"]
        screen.key("shift+F2")
        running.wait("pressed", key="shift+F2")
        other.disconnect()
        running.wait("usable", key="shift+F1")
        screen.key("shift+F1")
        running.wait("pressed", key="shift+F1")
    done = subprocess.run(
        [sys.executable, "-m", "koe.cli", "hotkeys", "--check", "--config", str(config)],
        env=os.environ | screen.env, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 1
    assert [line.split()[:1] + line.split()[2:3] for line in done.stdout.splitlines()] == [
        ["Nokey", "X"], ["exclam", "exclam"], ["shift+F1", "ok"], ["shift+F2", "ok"],
    ]  # fmt: skip


def test_one_press_without_a_key(daemon: Rig, screen: XServer, watch: Watch) -> None:
    for _ in range(2):
        before = is_muted(daemon)
        done = subprocess.run(
            [sys.executable, "-m", "koe.cli", "hotkeys", "--do", "mute",
             "--runtime-dir", str(daemon.folder / "run")],
            capture_output=True, timeout=PATIENCE_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert is_muted(daemon) != before


def test_daemon_and_screen_come_and_go(tmp_path: Path) -> None:
    """A daemon that is not there yet, is there, and is restarted in panic; a screen that dies."""
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    keys_yaml = tmp_path / "keys.yaml"
    keys_yaml.write_text(yaml.safe_dump({"hotkeys": {"keys": KEYS}}))
    directory = tmp_path / "run"
    directory.mkdir(mode=0o700)
    environ = cache | {"KOED_RUNTIME_DIR": str(directory)}
    with XServer() as screen, Keys(keys_yaml, directory, screen, "--patience", "60") as keys:
        keys.wait("ready")
        keys.wait("problem", code="no_daemon")
        screen.key("F3")
        with rig(CONFIG, PROFILES, environ=environ) as first:
            first.client.close()
            first.client = type(first.client)(str(directory))
            first.wait_ready()
            keys.wait("back")
            wait_for(lambda: pressed_mutes(screen, first), PATIENCE_S, "keys work when it is there")
            first.process.kill()
            first.process.wait()
        with rig(CONFIG, PROFILES, environ=environ) as second:
            second.client.close()
            second.client = type(second.client)(str(directory))
            second.wait_ready()
            wait_for(lambda: is_muted(second), PATIENCE_S, "the panic outlives the daemon")
            screen.kill()
            keys.wait("problem", code="display_gone")
            before = len(keys.told)
            screen.start()
            keys.wait("ready", before)
            screen.key("F10")
            wait_for(lambda: not is_muted(second), PATIENCE_S, "keys work on the new screen")
        assert sum(m.get("code") == "no_daemon" for m in keys.told) <= 3


def pressed_mutes(screen: XServer, daemon: Rig) -> bool:
    screen.key("F9")
    time.sleep(0.3)
    return is_muted(daemon)


def test_a_screen_that_stays_away_ends_it_with_a_word(tmp_path: Path) -> None:
    config = tmp_path / "koed.yaml"
    config.write_text("hotkeys: {keys: {F9: stop}}")
    with XServer() as screen:
        with Keys(config, tmp_path, screen, "--patience", "0.1") as keys:
            keys.wait("ready")
            screen.kill()
            assert keys.process.wait(PATIENCE_S) == 1
        assert keys.told[-1]["error"]["code"] == "display_gone"
        done = subprocess.run(
            [sys.executable, "-m", "koe.cli", "hotkeys", "--config", str(config)],
            env=os.environ | screen.env, capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        assert done.returncode == 1
        assert "no X server" in done.stderr
