"""The log: short lines for a person at a terminal, JSON lines for everything else.

Structured values come with ``extra={"koed": {...}}``. Whatever a message holds (chat, say), it
cannot move the cursor, colour the terminal or pretend to be another line.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from koed.config.daemon import LogConfig
from koed.errors import KoedError

_SECRET = re.compile(r"secret|password|passwd|token|credential|authorization", re.IGNORECASE)
_COLOURS = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_PLAIN = "\x1b[0m"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING,
           "error": logging.ERROR}  # fmt: skip


class KoedHandler(logging.StreamHandler[TextIO]):
    """A type of its own, so that `setup` can replace what it made before."""


def setup(config: LogConfig, stream: TextIO | None = None) -> KoedHandler:
    """Log to ``stream`` (None = standard error). A second call replaces the first.

    ``config.level`` is for koed; of libraries only warnings are shown.
    """
    target = sys.stderr if stream is None else stream
    on_terminal = target.isatty()
    handler = KoedHandler(target)
    human = config.format == "human" or (config.format == "auto" and on_terminal)
    colour = on_terminal and not os.environ.get("NO_COLOR")
    handler.setFormatter(HumanFormatter(colour) if human else JsonFormatter())
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, KoedHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in ("koed", "koe"):
        logging.getLogger(name).setLevel(_LEVELS[config.level])
    return handler


class HumanFormatter(logging.Formatter):
    """``12:03:44 warning device: message  key=value``"""

    def __init__(self, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        level = record.levelname.lower()
        where = record.name.removeprefix("koed.")
        parts = [f"{moment} {level:7} {where}: {printable(record.getMessage())}"]
        parts += [f"{key}={printable(_shown(value))}" for key, value in _extras(record).items()]
        text = "  ".join(parts)
        if self._colour and level in _COLOURS:
            text = f"{_COLOURS[level]}{text}{_PLAIN}"
        if record.exc_info and record.exc_info[0] is not None:
            text += "\n" + printable(self.formatException(record.exc_info), keep="\n")
        return text


class JsonFormatter(logging.Formatter):
    """One map a line: time (UTC), level, logger, message, the extras, and the exception."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in _extras(record).items():
            line.setdefault(key, value)
        if record.exc_info and record.exc_info[0] is not None:
            error = record.exc_info[1]
            if isinstance(error, KoedError):
                line |= {"code": error.code, "hint": error.hint}
            line["exception"] = self.formatException(record.exc_info)
        # All but ASCII escaped: no terminal and no encoding of the stream can be hurt by it.
        return json.dumps(line, default=str)


def printable(text: str, keep: str = "") -> str:
    """Control characters, direction marks and the like as escapes; ``keep`` stays as it is."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    extras = getattr(record, "koed", None)
    return _masked(extras) if isinstance(extras, Mapping) else {}


def _masked(values: Mapping[Any, Any]) -> dict[str, Any]:
    """The values with whatever is named like a secret hidden."""
    return {
        str(key): "***"
        if _SECRET.search(str(key))
        else (_masked(value) if isinstance(value, Mapping) else value)
        for key, value in values.items()
    }


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
