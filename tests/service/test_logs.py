"""Log lines for people and for programs."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from koed.config.daemon import LogConfig
from koed.errors import KoedError
from koed.service import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("NO_COLOR", raising=False)
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    levels = {name: logging.getLogger(name).level for name in ("koed", "koe")}
    yield
    root.handlers[:], root.level = before[0], before[1]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


log = logging.getLogger("koed.device")


def test_json_lines_when_nobody_watches() -> None:
    stream = io.StringIO()
    logs.setup(LogConfig(), stream)
    log.warning("lost %s", "koed\n\x1b[2J日本", extra={"koed": {"output": "main", "lost_s": 0.5}})
    (line,) = stream.getvalue().splitlines()
    read = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", read.pop("time"))
    assert read == {
        "level": "warning", "logger": "koed.device", "message": "lost koed\n\x1b[2J日本",
        "output": "main", "lost_s": 0.5,
    }  # fmt: skip


def test_short_lines_at_a_terminal() -> None:
    stream = Terminal()
    logs.setup(LogConfig(), stream)
    log.info("ready in %.1f s", 0.25, extra={"koed": {"voices": ["hana", "健"], "t": 1 / 3}})
    log.error("gone")
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(
        r'\d\d:\d\d:\d\d info    device: ready in 0.2 s  voices=\["hana", "健"\]  t=0.333333', first
    )
    assert second.startswith("\x1b[31m")
    assert second.endswith("error   device: gone\x1b[0m")


def test_no_colour_if_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    logs.setup(LogConfig(), stream)
    log.error("gone")
    assert "\x1b" not in stream.getvalue()


def test_chat_cannot_forge_lines_or_move_the_cursor() -> None:
    stream = io.StringIO()
    logs.setup(LogConfig(format="human"), stream)
    log.info("said %s", "a\n12:00:00 error x\x1b[2J\u202eb", extra={"koed": {"k": "c\rd"}})
    (line,) = stream.getvalue().splitlines()
    assert "a\\n12:00:00 error x\\x1b[2J\\u202eb" in line
    assert "k=c\\rd" in line


@pytest.mark.parametrize("form", ["json", "human"])
def test_secrets_are_masked(form: str) -> None:
    stream = io.StringIO()
    logs.setup(LogConfig(format=form), stream)  # type: ignore[arg-type]
    nested = {"obs": {"Password": "hunter2", "port": 4455}, "secret_key": "hunter2"}
    log.info("connecting", extra={"koed": nested})
    assert "hunter2" not in stream.getvalue()
    assert "4455" in stream.getvalue()


def test_levels_and_libraries() -> None:
    stream = io.StringIO()
    logs.setup(LogConfig(level="debug", format="human"), stream)
    log.debug("shown")
    logging.getLogger("websocket").info("chatty")
    logging.getLogger("websocket").warning("serious")
    logs.setup(LogConfig(level="error", format="human"), stream)
    log.warning("hidden")
    text = stream.getvalue()
    assert "shown" in text
    assert "serious" in text
    assert "chatty" not in text
    assert "hidden" not in text


def test_a_second_set_up_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.setup(LogConfig(), first)
    logs.setup(LogConfig(), second)
    log.info("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


@pytest.mark.parametrize("form", ["json", "human"])
def test_an_exception_is_kept_whole(form: str) -> None:
    stream = io.StringIO()
    logs.setup(LogConfig(format=form), stream)  # type: ignore[arg-type]
    try:
        raise KoedError("disk_full", "no room", "make some")
    except KoedError:
        log.exception("a listener failed")
    text = stream.getvalue()
    assert "Traceback" in text
    assert "no room" in text
    if form == "json":
        read = json.loads(text)
        assert (read["code"], read["hint"]) == ("disk_full", "make some")
