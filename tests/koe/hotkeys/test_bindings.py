"""What keys mean, without a key: the file, the state machine, the lines for Wayland."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from koe.cli import main
from koe.hotkeys import file, wayland
from koe.hotkeys.bindings import BindingError, Entry, action, combo, parse
from koe.hotkeys.state import Machine
from koe.transport.connection import Refused
from koed.cli import check
from koed.config import daemon as config
from koed.errors import ConfigError

TAP_S = 0.25


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("F9", "F9"),
        ("ctrl+alt+1", "ctrl+alt+1"),
        (" Shift + Control + A ", "ctrl+shift+a"),
        ("win+KP_Add", "super+KP_Add"),
        ("ctrl++", "ctrl+plus"),
        ("+", "plus"),
        ("super+,", "super+comma"),
        ("code:191", "code:191"),
        ("altgr+XF86AudioMute", "altgr+XF86AudioMute"),
    ],
)
def test_keys_are_read(text: str, meant: str) -> None:
    assert str(combo(text)) == meant


@pytest.mark.parametrize(
    "text", ["", "ctrl", "ctrl+", "hyper+a", "ctrl+ctrl+a", "a+b", "ctrl+ä", "code:x", "F9 F10"]
)
def test_what_is_no_key_is_told(text: str) -> None:
    with pytest.raises(BindingError):
        combo(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("voise hana", "did you mean 'voice'?"),
        ("voice", "write it like: voice NAME"),
        ("voice ../x", "1 to 32"),
        ("voice mei/", "1 to 32"),
        ("voice mei/happy/clip", "1 to 32"),
        ("phrase mei/happy", "1 to 32"),
        ("stop now", ""),
        ("mode loud", "chat_muted"),
        ("", "there are:"),
    ],
)
def test_what_is_no_action_is_told(text: str, hint: str) -> None:
    with pytest.raises(BindingError) as caught:
        action(text)
    assert hint in caught.value.hint


def test_a_key_may_choose_a_style_of_a_voice() -> None:
    assert action("voice mei/happy").argument == "mei/happy"


def machine(*bindings: str | tuple[str, dict[str, str]], voice: str = "base") -> Machine:
    entries = [
        Entry(n + 1, f"F{n + 1}", b if isinstance(b, str) else {"do": b[0]} | b[1])
        for n, b in enumerate(bindings)
    ]
    read, problems = parse(entries)
    assert not problems
    made = Machine(read, TAP_S)
    made.status({"voice": voice, "outputs": {"main": {"muted": False, "paused": False}}})
    return made


def voices(requests: list[dict[str, Any]]) -> list[str]:
    return [request["name"] for request in requests]


def test_a_held_voice_goes_back_and_a_tapped_one_stays() -> None:
    keys = machine("voice mei")
    assert keys.press(0, 10.0) == [{"op": "voice", "name": "mei", "when": "now"}]
    assert keys.press(0, 10.5) == []  # it repeats itself
    assert voices(keys.release(0, 10.0 + TAP_S)) == ["base"]
    assert voices(keys.press(0, 20.0)) == ["mei"]
    assert keys.release(0, 20.0 + TAP_S / 2) == []  # a tap: it stays
    assert voices(keys.press(0, 30.0)) == ["base"]  # the next one goes back
    assert keys.release(0, 40.0) == []
    assert keys.view.voice == "base"


def test_how_may_be_said() -> None:
    keys = machine(("voice mei", {"how": "hold"}), ("voice rex", {"how": "tap", "when": "next"}))
    keys.press(0, 1.0)
    assert voices(keys.release(0, 1.01)) == ["base"]  # held, however shortly
    assert keys.press(1, 2.0) == [{"op": "voice", "name": "rex", "when": "next"}]
    assert keys.release(1, 9.0) == []  # a tap, however long
    assert voices(keys.press(1, 10.0)) == ["base"]


def test_holds_may_overlap_in_any_order() -> None:
    keys = machine("voice mei", "voice rex")
    assert voices(keys.press(0, 1.0)) == ["mei"]
    assert voices(keys.press(1, 2.0)) == ["rex"]
    assert keys.release(0, 3.0) == []
    assert voices(keys.release(1, 4.0)) == ["base"]
    keys.press(0, 5.0)
    keys.press(1, 6.0)
    assert voices(keys.release(1, 7.0)) == ["mei"]
    assert voices(keys.release(0, 8.0)) == ["base"]


def test_somebody_else_has_changed_the_voice_meanwhile() -> None:
    keys = machine("voice mei")
    keys.press(0, 1.0)
    keys.event({"event": "voice.changed", "voice": "rex", "output": None})
    assert keys.release(0, 3.0) == []
    assert keys.view.voice == "rex"


def test_panic_is_latched_until_it_is_released() -> None:
    keys = machine("panic", "mute", "release", "phrase hi")

    def tap(index: int) -> list[str]:
        pressed = [request["op"] for request in keys.press(index, 1.0)]
        keys.release(index, 1.1)
        return pressed

    assert tap(1) == ["mute"]
    keys.event({"event": "state", "state": "muted"})
    assert tap(1) == ["unmute"]
    keys.event({"event": "state", "state": "unmuted"})
    assert tap(0) == ["panic", "stop"]
    keys.event({"event": "state", "state": "panic"})
    assert tap(1) == []  # the key beside it changes nothing
    assert tap(3) == []  # and nothing waits to be heard later
    assert tap(0) == ["panic", "stop"]
    fresh = {"voice": "base", "outputs": {"main": {"muted": False, "held": ""}}}
    assert [r["op"] for r in keys.status(fresh)] == ["panic", "stop"]  # a daemon that forgot it
    assert tap(2) == ["clear", "release", "unmute"]
    assert tap(2) == ["release", "unmute"]
    assert keys.status(fresh) == []
    tap(0)
    keys.event({"event": "state", "state": "unmuted"})  # koe unmute
    assert keys.panicked
    keys.event({"event": "state", "state": "released"})  # koe release
    assert not keys.panicked


def test_a_panic_of_somebody_else_counts_as_well() -> None:
    keys = machine("mute", "release")
    keys.event({"event": "state", "state": "panic", "output": "main", "detail": "ann"})
    assert keys.press(0, 1.0) == []
    keys.event({"event": "state", "state": "released", "output": "main"})
    assert not keys.panicked
    held = {"voice": "base", "outputs": {"main": {"muted": False, "held": "panic"}}}
    assert keys.status(held) == []  # koed knows it: there is nothing to remind it of
    assert [r["op"] for r in keys.press(1, 2.0)] == ["clear", "release", "unmute"]


def test_what_toggles_follows_the_daemon() -> None:
    keys = machine("pause", "mode chat_muted", ("phrase hi", {"output": "second"}))
    assert keys.press(0, 1.0) == [{"op": "pause"}]
    keys.release(0, 1.1)
    keys.event({"event": "state", "state": "paused"})
    assert keys.press(0, 2.0) == [{"op": "resume"}]
    assert keys.press(1, 3.0) == [{"op": "mode", "mode": "chat_muted"}]
    keys.release(1, 3.1)
    keys.event({"event": "mode.changed", "mode": "chat_muted"})
    assert keys.press(1, 4.0) == [{"op": "mode", "mode": "speak"}]
    assert keys.press(2, 5.0) == [
        {"op": "phrase", "name": "hi", "priority": "urgent", "output": "second"}
    ]


BAD = """\
voice: hana
phrases: {hi: hello}
hotkeys:
  tap_ms: soon
  typo: 1
  keys:
    F9: voice mei
    ctrl+alt+F9: phrase hi
    alt+control+f9: stop
    F10: {do: stop, hwo: tap}
    F11: [a, list]
    F12: shout
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "koed.yaml"
    path.write_text(text)
    return path


def test_every_problem_of_the_file_has_its_line(tmp_path: Path) -> None:
    read = file.read(write(tmp_path, BAD))
    assert [str(binding.combo) for binding in read.bindings] == ["F9", "ctrl+alt+F9"]
    lines = {problem.line: str(problem) for problem in read.problems}
    assert set(lines) == {4, 5, 9, 10, 11, 12}
    assert "line 8" in lines[9]
    assert "'how'" in lines[10]
    assert read.tap_s == 0.25


def test_the_daemon_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = BAD.replace("tap_ms: soon", "tap_ms: 300").replace("  typo: 1\n", "")
    for line in ("    alt+control+f9: stop\n", "    F10: {do: stop, hwo: tap}\n",
                 "    F11: [a, list]\n", "    F12: shout\n"):  # fmt: skip
        good = good.replace(line, "")
    loaded = config.load(write(tmp_path, good))
    assert (loaded.hotkeys.tap_ms, len(loaded.hotkeys.keys)) == (300, 2)
    check.report(loaded, as_json=True)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [f["detail"] for f in told if f["what"] == "hotkeys"] == ["F9: there is no voice mei"]
    for line, what in (("F12: shout", "no action"), ("alt+control+f9: stop", "stands twice")):
        with pytest.raises(ConfigError) as caught:
            config.load(write(tmp_path, good + f"    {line}\n"))
        assert what in caught.value.message


@pytest.mark.parametrize("text", ["a: [", "\x00", "a: *x", "[" * 1200])
def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Refused) as caught:
        file.read(write(tmp_path, text))
    assert caught.value.code == "bad_config"


def test_values_of_any_shape_are_survived(tmp_path: Path) -> None:
    for text in ("[1, 2]", "hotkeys: 3", "hotkeys: {keys: [F9]}", "hotkeys: {keys: {[a]: b}}", ""):
        assert file.read(write(tmp_path, text)).bindings == ()


def test_the_lines_for_wayland(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'hotkeys: {keys: {ctrl+alt+1: "say it\'s me", super+F9: {do: voice mei, how: hold}}}'
    path = str(write(tmp_path, f"voice: rex\n{text}\n"))
    for desktop, wanted in {
        "gnome": "'<Control><Alt>1'",
        "kde": "Ctrl+Alt+1",
        "sway": "bindsym --release Mod4+F9 exec koe voice rex",
    }.items():
        assert main(["hotkeys", "--config", path, "--print", desktop]) == 0
        assert wanted in capsys.readouterr().out
    assert wayland.is_wayland({"XDG_SESSION_TYPE": "wayland"})
    assert not wayland.is_wayland({"XDG_SESSION_TYPE": "x11", "WAYLAND_DISPLAY": ""})


def test_a_wayland_session_is_told_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_SESSION_TYPE", "wayland")
    path = str(write(tmp_path, "hotkeys: {keys: {F9: stop}}"))
    assert main(["hotkeys", "--config", path]) == 1
    assert "--print gnome" in capsys.readouterr().err
