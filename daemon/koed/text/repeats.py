"""Repetition without end: "かわいいかわいいかわいいかわいい", "ーーーーー", "가자 가자 가자".

A unit of up to `MAX_UNIT` characters is kept ``keep`` times, its further copies are dropped. Which
run is seen first is decided by where it is complete, so a stream gives what the whole text gives.
"""

from __future__ import annotations

import re
from functools import cache

MAX_UNIT = 12


@cache
def _any_run(keep: int) -> re.Pattern[str]:
    return re.compile(rf"(.{{1,{MAX_UNIT}}}?)\1{{{keep - 1}}}")


@cache
def _run_of(length: int, keep: int) -> re.Pattern[str]:
    return re.compile(rf"(.{{{length}}})\1{{{keep - 1}}}")


class RepeatFilter:
    """Keeps at most ``keep`` (at least 2) copies of a unit in a row; marks of lines end a run."""

    def __init__(self, keep: int) -> None:
        self._keep = max(2, keep)
        self._history = ""
        """What was given out since the last run, as far as it may still begin one."""
        self._unit = ""
        """The unit of the run that the text is in, or empty."""
        self._part = ""
        """The beginning of a further copy of `_unit`, held until it is whole or is none."""

    def push(self, text: str) -> str:
        out: list[str] = []
        while text or self._part:
            if self._unit:
                text = self._skip(self._part + text)
                if self._unit:
                    break
            buffer = self._history + text
            done = len(self._history)
            run = self._first_run(buffer)
            if run is None:
                out.append(text)
                self._remember(buffer)
                break
            out.append(buffer[done : run.end()])
            text, self._history, self._unit = buffer[run.end() :], "", run[1]
        return "".join(out)

    def flush(self) -> str:
        """What is still held; afterwards nothing before this counts as repeated."""
        part = "" if self._part.strip() == self._unit.strip() else self._part
        self._history = self._unit = self._part = ""
        return part

    def _skip(self, text: str) -> str:
        """``text`` after further copies of the unit; leaves `_unit` set if more may come."""
        unit, start = self._unit, 0
        block = unit * 64
        while text.startswith(block, start):
            start += len(block)
        while text.startswith(unit, start):
            start += len(unit)
        if len(text) - start < len(unit) and unit.startswith(text[start:]):
            self._part = text[start:]
            return ""
        self._unit = self._part = ""
        return text[start:]

    def _remember(self, buffer: str) -> None:
        buffer = buffer[buffer.rfind("\n") + 1 :]
        self._history = buffer[-(MAX_UNIT * self._keep - 1) :]

    def _first_run(self, buffer: str) -> re.Match[str] | None:
        """The run that is complete first; of two, the one with the shorter unit."""
        first = _any_run(self._keep).search(buffer)
        if first is None:
            return None
        for length in range(1, MAX_UNIT + 1):
            if length * self._keep >= first.end():
                break
            other = _run_of(length, self._keep).search(buffer, 0, first.end())
            if other is not None and other.end() < first.end():
                first = other
        return first
