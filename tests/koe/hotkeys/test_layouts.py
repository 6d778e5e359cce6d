"""Keys on the keyboards of other countries: which are taken, and what is said of the others. What
a hint says to write is written, and pressed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from koe.hotkeys.bindings import Action, Binding, combo
from koe.hotkeys.keynames import keysym
from koe.hotkeys.x11 import Keyboard, Unusable
from tests.rigs.waiting import wait_for
from tools.counterparts.xserver import XServer

PATIENCE_S = 40.0


class Typist:
    """A keyboard with one layout, the keys that are bound on it, and who presses them."""

    def __init__(self, screen: XServer, layout: str) -> None:
        self._screen = screen
        screen.lay_out("-layout", layout)
        self.keyboard = Keyboard(screen.display)
        self.keys: list[str] = []

    def bind(self, *keys: str) -> dict[str, Unusable]:
        """Those that cannot be had."""
        self.keys = list(keys)
        bindings = [Binding(combo(key), Action("stop")) for key in keys]
        return {keys[one.index]: one for one in self.keyboard.grab(bindings)}

    def press(self, keys: str) -> str:
        """The binding that answers to keys of the keyboard, as xdotool calls or counts them."""
        pressed: list[int] = []

        def answered() -> bool:
            for event in self.keyboard.events():
                pressed.extend(key.index for key in self.keyboard.pressed(event))
            return bool(pressed)

        self._screen.key(keys)
        wait_for(answered, PATIENCE_S, f"{keys} is heard")
        wait_for(lambda: self.keyboard.released() or not self.keyboard.holding, PATIENCE_S, "up")
        assert len(pressed) == 1
        return self.keys[pressed[0]]


@pytest.fixture
def typist(request: pytest.FixtureRequest, screen: XServer) -> Iterator[Typist]:
    made = Typist(screen, request.param)
    yield made
    made.keyboard.close()
    screen.lay_out("-layout", "us")


def written(one: Unusable) -> list[str]:
    """What a hint says to write."""
    return re.findall(r"(?:write it as|or as) (\S+?)(?:,|;|$| )", one.hint)


@pytest.mark.parametrize(
    ("typist", "key", "code", "instead", "pressed"),
    [
        ("fr", "ctrl+alt+1", "needs_shift", "ctrl+alt+ampersand", "ctrl+alt+ampersand"),
        ("fr", "shift+2", "needs_shift", "shift+eacute", "shift+eacute"),
        ("cz", "1", "needs_shift", "plus", "plus"),
        ("us", "exclam", "needs_shift", "shift+1", "shift+1"),
        ("us", "ctrl+{", "needs_shift", "ctrl+shift+bracketleft", "ctrl+shift+bracketleft"),
        ("de", "/", "needs_shift", "shift+7", "shift+7"),
        ("de", "@", "needs_altgr", "altgr+q", "ISO_Level3_Shift+q"),
        (
            "fr",
            "ctrl+{",
            "needs_altgr",
            "ctrl+altgr+apostrophe",
            "ctrl+ISO_Level3_Shift+apostrophe",
        ),
        ("ru", "ctrl+alt+p", "no_such_key", "ctrl+alt+Cyrillic_ze", "ctrl+alt+Cyrillic_ze"),
        ("ru", ",", "needs_shift", "shift+period", "shift+period"),
        ("ru", "Cyrillic_EF", "needs_shift", "shift+Cyrillic_ef", "shift+Cyrillic_ef"),
        ("gr", "e", "no_such_key", "Greek_epsilon", "Greek_epsilon"),
        ("us,ru,gr", "exclam", "needs_shift", "shift+1", "shift+1"),
    ],
    indirect=["typist"],
)
def test_what_the_hint_says_works(
    typist: Typist, key: str, code: str, instead: str, pressed: str
) -> None:
    one = typist.bind(key)[key]
    assert one.code == code
    assert written(one)[0] == instead
    for other in written(one):
        assert typist.bind(other) == {}
    assert typist.bind(instead) == {}
    assert typist.press(pressed) == instead


@pytest.mark.parametrize("typist", ["us", "de", "fr", "gr", "ru", "ru,us"], indirect=True)
def test_the_keypad_is_the_same_whatever_numlock_does(typist: Typist) -> None:
    """By its number or its arrow, and neither needs Shift."""
    assert typist.bind("kp_1", "KP_Down", "ctrl+KP_5", "KP_Decimal", "KP_Add") == {}
    for _ in range(2):
        assert [typist.press(f"{code}") for code in (87, 88, 91, 86)] == [
            "kp_1", "KP_Down", "KP_Decimal", "KP_Add",
        ]  # fmt: skip
        assert typist.press("ctrl+84") == "ctrl+KP_5"
        typist._screen.key("Num_Lock")
    twice = typist.bind("KP_1", "KP_End", "code:87")
    assert {key: one.code for key, one in twice.items()} == dict.fromkeys(
        ("KP_End", "code:87"), "twice"
    )
    assert "KP_1" in twice["KP_End"].what


@pytest.mark.parametrize("typist", ["ru,us", "us,ru"], indirect=True)
def test_letters_of_either_layout_are_there(typist: Typist) -> None:
    assert typist.bind("ctrl+a", "cyrillic_ef", "Cyrillic_YA").keys() == {"Cyrillic_YA"}
    assert typist.press("ctrl+38") == "ctrl+a"
    assert typist.press("38") == "cyrillic_ef", "in lower case it is the small letter"


@pytest.mark.parametrize("typist", ["de,us"], indirect=True)
def test_a_key_that_two_layouts_call_differently_is_what_the_layout_says(typist: Typist) -> None:
    assert typist.bind("y", "z") == {}
    assert [typist.press("52"), typist.press("29")] == ["y", "z"]


@pytest.mark.parametrize("typist", ["us"], indirect=True)
def test_what_no_key_gives_has_a_number(typist: Typist) -> None:
    one = typist.bind("eacute")["eacute"]
    assert (one.code, "code:NUMBER" in one.hint) == ("no_such_key", True)


def test_in_lower_case_a_name_is_that_of_the_small_letter() -> None:
    for name in ("Cyrillic_ef", "Greek_alpha", "Adiaeresis"):
        small = keysym(name.lower() if name == "Adiaeresis" else name)
        assert small is not None
        assert keysym(name.lower()) == small
        assert keysym(name.upper()) == small, "in no case that X knows"


def test_check_beside_a_running_koe_hotkeys(screen: XServer, tmp_path: Path) -> None:
    """Its keys are no other program's; and a second one is told who has them."""
    config = tmp_path / "koed.yaml"
    config.write_text(yaml.safe_dump({"hotkeys": {"keys": {"F1": "stop", "ctrl+F2": "skip"}}}))
    command = [sys.executable, "-m", "koe.cli", "hotkeys", "--json", "--config", str(config)]
    command += ["--runtime-dir", str(tmp_path)]
    environ = os.environ | screen.env

    def check() -> tuple[int, list[tuple[str, str]]]:
        done = subprocess.run(
            [*command, "--check"], env=environ, capture_output=True, text=True, timeout=PATIENCE_S
        )
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return done.returncode, [(row["state"], row["code"]) for row in rows]

    free = (0, [("ok", "")] * 2)
    bound = (0, [("ok: bound by the koe hotkeys that is running", "")] * 2)
    assert check() == free
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert json.loads(first.stdout.readline())["bound"] == 2
        wait_for(lambda: check() == bound, PATIENCE_S, "its keys are known to be its")
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            assert json.loads(second.stdout.readline())["bound"] == 0
            told = json.loads(second.stdout.readline())
            assert (told["code"], "koe hotkeys" in told["message"]) == ("taken_by_koe", True)
            first.terminate()
            left = {"F1", "ctrl+F2"}
            while left:
                one = json.loads(second.stdout.readline())
                left -= {one["key"]} if one["event"] == "usable" else set()
            wait_for(lambda: check() == bound, PATIENCE_S, "now they are the second one's")
            second.terminate()
    wait_for(lambda: check() == free, PATIENCE_S, "they are nobody's")
