"""The transcript: whole lines, bounded files, and no fault of the disk that reaches the voice."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import resource
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koe.protocol import (
    Event,
    Trouble,
    UtteranceDropped,
    UtteranceFailed,
    UtteranceFinished,
    UtteranceQueued,
    UtteranceSkipped,
    UtteranceStarted,
)
from koed.config.daemon import TranscriptConfig
from koed.errors import KoedError
from koed.service.transcript import Transcript


class Clock:
    """Monotonic seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A transcript, its clock and the troubles that it reported."""

    def __init__(self, folder: Path, config: TranscriptConfig | None = None) -> None:
        self.clock = Clock()
        self.troubles: list[KoedError] = []
        config = config or TranscriptConfig()
        self.path = folder / (config.path or "transcript.jsonl")
        self.transcript = Transcript(config, self.path, self.troubles.append, self.clock)

    def codes(self) -> list[str]:
        return [trouble.code for trouble in self.troubles]

    def lines(self, path: Path | None = None) -> list[dict[str, Any]]:
        text = (path or self.path).read_text(encoding="utf-8")
        assert text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "state")
    yield made
    made.transcript.close()


def queued(number: int, text: str = "こんにちは") -> UtteranceQueued:
    return UtteranceQueued(
        utterance=number, text=text, voice="hana", output="main", priority="chatter", author="mia"
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- what is written -------------------------------------------------------------------------


def test_a_line_says_when_who_which_voice_and_what_was_heard(desk: Desk) -> None:
    listen = desk.transcript.listen
    began = datetime.datetime.now().astimezone()
    listen(queued(1))
    listen(
        UtteranceStarted(
            utterance=1, text="こんにちは", voice="ken", output="main", heard_t=desk.clock.now - 60
        )
    )
    listen(UtteranceSkipped(utterance=1, output="main", reason="cancel", heard="こん"))
    (line,) = desk.lines()
    written = datetime.datetime.fromisoformat(line.pop("time"))
    started = datetime.datetime.fromisoformat(line.pop("started"))
    assert written.tzinfo is not None
    assert written >= began - datetime.timedelta(milliseconds=1)
    assert abs((written - started).total_seconds() - 60) < 10
    assert line == {
        "utterance": 1, "author": "mia", "voice": "ken", "output": "main", "priority": "chatter",
        "outcome": "skipped", "text": "こんにちは", "reason": "cancel", "heard": "こん",
    }  # fmt: skip


def test_every_end_is_an_outcome(desk: Desk) -> None:
    ends: list[Event] = [
        UtteranceFinished(utterance=0, output="main", spoken_s=1.23456),
        UtteranceSkipped(utterance=1, output="main", reason="skip"),
        UtteranceDropped(utterance=2, output="main", reason="expired"),
        UtteranceFailed(utterance=3, output="main", code="worker_killed", message="", heard="a"),
    ]
    for number, end in enumerate(ends):
        desk.transcript.listen(queued(number))
        desk.transcript.listen(end)
        desk.transcript.listen(end)
    desk.transcript.listen(Trouble(code="x", message="not an utterance"))
    desk.transcript.listen(UtteranceFinished(utterance=99, output="main"))
    lines = desk.lines()
    assert [line["outcome"] for line in lines] == ["finished", "skipped", "dropped", "failed"]
    assert lines[0]["spoken_s"] == 1.235
    assert lines[3]["reason"] == "worker_killed"
    assert desk.transcript.status() == {
        "path": str(desk.path), "ok": True, "written": 4, "lost": 0,
    }  # fmt: skip


def test_any_text_stays_one_line(desk: Desk) -> None:
    nasty = 'a\nb\r\u2028\0"\\\udc80\u202e' + "x" * 100_000
    desk.transcript.write({"text": nasty})
    desk.transcript.write({"text": "next"})
    raw = desk.path.read_bytes()
    assert raw.count(b"\n") == 2
    assert json.loads(raw.splitlines()[0])["text"] == nasty


def test_only_the_owner_may_read(desk: Desk) -> None:
    desk.path.parent.mkdir(mode=0o700)
    desk.path.touch(0o644)
    desk.transcript.write({})
    assert mode(desk.path) == 0o600, "an older file is tightened"
    desk.path.unlink()
    desk.path.parent.rmdir()
    before = os.umask(0)
    try:
        desk.transcript.write({})
    finally:
        os.umask(before)
    assert mode(desk.path) == 0o600
    assert mode(desk.path.parent) == 0o700


def test_an_empty_path_is_no_transcript(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "state", TranscriptConfig(path=""))
    desk.transcript.listen(queued(1))
    desk.transcript.listen(UtteranceFinished(utterance=1, output="main"))
    desk.transcript.close()
    assert not (tmp_path / "state").exists()


def test_lines_that_never_end_are_bounded(desk: Desk) -> None:
    for number in range(10_100):
        desk.transcript.listen(queued(number, ""))
    assert len(desk.transcript._open) == 10_000


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_files_are_rotated_by_size(tmp_path: Path, keep: int) -> None:
    desk = Desk(tmp_path, TranscriptConfig(max_mb=1000 / 1024 / 1024, keep=keep))
    for number in range(100):
        desk.transcript.write({"n": number, "fill": "x" * 80})
    desk.transcript.close()
    files = [desk.path, *(Path(f"{desk.path}.{n}") for n in range(1, keep + 1))]
    assert sorted(tmp_path.iterdir()) == files
    numbers = [line["n"] for path in reversed(files) for line in desk.lines(path)]
    assert numbers == list(range(100 - len(numbers), 100)), "the last ones, in order"
    assert all(path.stat().st_size <= 1000 for path in files)
    assert all(mode(path) == 0o600 for path in files)
    assert desk.codes() == []


def test_half_a_line_of_a_crash_spoils_no_other(desk: Desk) -> None:
    desk.path.parent.mkdir()
    desk.path.write_text('{"n": 1}\n{"n": 2, "te')
    desk.transcript.write({"n": 3})
    assert desk.path.read_text().splitlines() == ['{"n": 1}', '{"n": 2, "te', '{"n": 3}']


def test_a_file_that_somebody_takes_away_is_made_anew(desk: Desk) -> None:
    desk.transcript.write({"n": 1})
    desk.path.rename(desk.path.with_suffix(".old"))
    desk.transcript.write({"n": 2})
    desk.path.unlink()
    desk.transcript.write({"n": 3})
    assert desk.lines() == [{"n": 3}]
    assert desk.codes() == []


# --- faults ----------------------------------------------------------------------------------


def test_a_full_disk_is_told_once_and_tried_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.path.symlink_to("/dev/full")
    for _ in range(100):
        desk.transcript.write({"n": 1})
        desk.clock.now += 1.0
    assert desk.codes() == ["disk_full"]
    assert "No space left" in desk.troubles[0].message
    assert desk.transcript.status()["lost"] == 100
    assert desk.transcript.status()["ok"] is False
    desk.path.unlink()
    desk.clock.now += 61.0
    desk.transcript.write({"n": 2})
    assert desk.codes() == ["disk_full", "transcript_back"]
    assert "100 lines" in desk.troubles[1].message
    assert desk.lines() == [{"n": 2}]
    desk.transcript.close()
    desk.path.unlink()
    desk.path.symlink_to("/dev/full")
    desk.transcript.write({"n": 3})
    assert desk.codes()[2:] == ["disk_full"], "a new outage is told again"


def test_the_disk_is_left_alone_between_attempts(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.path.symlink_to("/dev/full")
    desk.transcript.write({})
    desk.path.unlink()
    desk.clock.now += 0.9
    desk.transcript.write({})
    assert not desk.path.exists()
    desk.clock.now += 0.2
    desk.transcript.write({})
    assert len(desk.lines()) == 1


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """No file of this process may grow beyond 100 bytes: a write comes back half done.

    Only around that write: the output of the tests may be a file as well.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_line_that_fits_only_in_part_is_taken_back(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with small_files():
        desk.transcript.write({"n": 1})
        desk.transcript.write({"n": 2, "fill": "x" * 200})
    assert desk.lines() == [{"n": 1}]
    desk.clock.now += 2
    desk.transcript.write({"n": 3})
    assert desk.lines() == [{"n": 1}, {"n": 3}]
    assert desk.codes() == ["disk_full", "transcript_back"]


@pytest.mark.parametrize("kind", ["folder", "file_as_folder", "zero_byte", "read_only"])
def test_a_path_that_cannot_be_written(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dir").mkdir()
    path = {
        "folder": str(tmp_path / "dir"),
        "file_as_folder": str(tmp_path / "file" / "t.jsonl"),
        "zero_byte": "a\0b",
        "read_only": "/proc/version",  # read-only for root as well
    }[kind]
    desk = Desk(tmp_path / "state", TranscriptConfig(path=path))
    for _ in range(3):
        desk.transcript.write({"n": 1})
        desk.clock.now += 100
    assert desk.codes() == ["transcript_unwritable"]
    assert desk.transcript.status()["lost"] == 3


def test_a_pipe_that_nobody_reads_does_not_block(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    os.mkfifo(desk.path)
    began = time.monotonic()
    for _ in range(50):
        desk.transcript.write({"fill": "x" * 4000})
    assert time.monotonic() - began < 30, "it came back at all"
    assert desk.codes() == ["transcript_unwritable"]
    desk.transcript.close()
