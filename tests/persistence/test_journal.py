"""The journal of the lines that wait: what is read back, and what a damaged one does."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koed.config.delivery import PLAIN, Delivery
from koed.persistence import journal
from koed.persistence.journal import BadJournal, Journal, Unfinished
from koed.playback.queue import Line

MACHINE = journal.machine() or "m"


class Now:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


class Book:
    """A journal in a folder, and what it tells."""

    def __init__(self, folder: Path) -> None:
        self.now = Now()
        self.told: list[str] = []
        self.journal = Journal(folder / "koed" / "waiting", self.told.append, self.now)
        self.journal.look(())

    def add(self, *lines: Line) -> None:
        for line in lines:
            self.journal.add(line, whole=True)

    def read(self) -> list[Unfinished]:
        return journal.read(self.journal.path.read_bytes(), MACHINE)

    def numbers(self) -> list[int]:
        return [entry.line.utterance for entry in self.read()]


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


WRITTEN = ["+", 3, True, "t", "v", "main", "normal", None, None, None, 1.0, None, False]
"""By a koed that knew of no styles."""


def line(number: int, text: str = "hello", **more: object) -> Line:
    return dataclasses.replace(Line(number, text, "hana", "main", queued_at=90.0), **more)  # type: ignore[arg-type]


def test_what_waits_is_read_back_as_it_was(book: Book) -> None:
    rich = line(
        2, "こんにちは", priority="urgent", lang="ja", key="k", author="ann", expires_at=120.5,
        explicit_voice=True, style="happy", delivery=Delivery(1.25, top_k=5, pitch=-3.5),
    )  # fmt: skip
    book.add(line(1), rich, line(3))
    book.journal.drop(1)
    book.journal.begin(3, "")
    assert book.read() == [Unfinished(rich), Unfinished(line(3), sounding=True)]
    assert stat.S_IMODE(book.journal.path.stat().st_mode) == 0o600
    book.journal.forget()
    assert not book.journal.path.exists()


@pytest.mark.parametrize(
    ("more", "style", "delivery"),
    [([], "", PLAIN), (["happy", 1.25, None, 5, 7], "happy", Delivery(1.25, top_k=5, seed=7))],
)
def test_a_line_that_an_older_koed_wrote_is_read(
    more: list[object], style: str, delivery: Delivery
) -> None:
    head = msgpack.packb(["koed journal", 1, MACHINE])
    (found,) = journal.read(head + msgpack.packb(WRITTEN + more), MACHINE)
    assert (found.line.text, found.line.style, found.line.delivery) == ("t", style, delivery)


def test_a_line_whose_text_comes_in_pieces_is_told_and_never_said(book: Book) -> None:
    book.journal.add(line(1, ""), whole=False)
    book.journal.begin(1, "as far as it")
    assert book.read() == [Unfinished(line(1, "as far as it"), whole=False, sounding=True)]


def test_lines_that_are_changed_where_they_wait(book: Book) -> None:
    lines = [line(1), line(2), line(3)]
    book.add(*lines)
    lines[1] = line(2, "other words", voice="ken")
    book.journal.look(lines)
    assert book.read() == [Unfinished(each) for each in lines]


def test_a_line_that_takes_the_place_of_another(book: Book) -> None:
    book.add(line(1, key="k"), line(2))
    book.journal.drop(1, reorder=True)
    book.add(new := line(3, key="k"))
    book.journal.look([new, line(2)])
    assert book.numbers() == [3, 2]


def test_nothing_is_written_where_nothing_has_changed(book: Book) -> None:
    lines = [line(1), line(2)]
    book.add(*lines)
    before = book.journal.path.stat()
    book.journal.look(lines)
    after = book.journal.path.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)


def test_it_stays_small(book: Book) -> None:
    waiting: list[Line] = []
    for number in range(2000):
        waiting.append(line(number, "x" * 3000, author="a" * 200))
        book.add(waiting[-1])
        if len(waiting) > 400:
            book.journal.drop(waiting.pop(0).utterance)
        assert book.journal.path.stat().st_size <= journal.MAX_BYTES
    book.journal.look([*waiting[:-1], dataclasses.replace(waiting[-1], text="y")])  # anew
    entries = book.read()
    assert [entry.line.utterance for entry in entries] == [each.utterance for each in waiting]
    assert entries[0].whole  # the oldest comes first
    cut = [entry for entry in entries if not entry.whole]
    assert cut
    assert {len(entry.line.text) for entry in cut} == {journal.CUT_CHARS}
    assert entries[-1] == Unfinished(line(1999, "y", author="a" * 200))  # there was nothing to cut
    assert not any(journal.restorable(entry, 91.0, 30.0) for entry in cut)


def test_more_lines_than_it_can_hold_leave_it_room(book: Book) -> None:
    name = "n" * 200
    lines = [line(number, voice=name, key=name, author=name) for number in range(1000)]
    book.journal.drop(0, reorder=True)
    book.add(*lines)
    assert book.journal.path.stat().st_size <= journal.MAX_BYTES
    book.journal.drop(5000, reorder=True)
    book.journal.look(lines)
    assert book.journal.path.stat().st_size <= journal.LIVING_BYTES + 100
    held = book.numbers()
    assert held == list(range(len(held)))  # the oldest
    assert len(held) > 500


def test_a_disk_that_takes_nothing_is_told_once_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "koed").write_text("in the way")
    book = Book(tmp_path)
    book.add(line(1))
    book.journal.begin(1, "")
    book.journal.look([])
    assert len(book.told) == 1
    assert "waiting" in book.told[0]
    (tmp_path / "koed").unlink()
    book.add(line(2))
    assert not book.journal.path.exists()
    book.now.s += journal.RETRY_S
    book.journal.look([line(2)])
    assert book.numbers() == [1, 2]
    assert len(book.told) == 1


@pytest.mark.parametrize(
    ("entry", "now", "back"),
    [
        (Unfinished(line(1)), 120.0, True),
        (Unfinished(line(1)), 120.1, False),
        (Unfinished(line(1)), 89.0, False),  # younger than now: of another clock
        (Unfinished(line(1, queued_at=float("nan"))), 100.0, False),
        (Unfinished(line(1, expires_at=110.0)), 109.0, True),
        (Unfinished(line(1, expires_at=110.0)), 110.0, False),
        (Unfinished(line(1, priority="chatter")), 91.0, False),
        (Unfinished(line(1, priority="urgent")), 91.0, True),
        (Unfinished(line(1), sounding=True), 91.0, False),
        (Unfinished(line(1), whole=False), 91.0, False),
    ],
)
def test_what_may_come_back(entry: Unfinished, now: float, back: bool) -> None:
    assert journal.restorable(entry, now, 30.0) is back


def test_after_a_start_of_the_machine_no_line_is_young(book: Book) -> None:
    book.add(line(1))
    entries = journal.read(book.journal.path.read_bytes(), "another start")
    assert entries == [Unfinished(line(1), whole=False)]


# --- hostile bytes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x91" * 50_000, b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
        msgpack.packb({}), msgpack.packb([1, 2, 3]), msgpack.packb(["koed journal", 2, "m"]),
        msgpack.packb("koed"), msgpack.packb(["koed journal", 1]),
    ],
)  # fmt: skip
def test_bytes_that_are_no_journal(data: bytes) -> None:
    with pytest.raises(BadJournal):
        journal.read(data, MACHINE)


@pytest.mark.parametrize(
    "record",
    [
        ["+", 3], ["+", "3"], ["?", 3], ["-", None], 7, {}, [], ["~", 1, 5],
        ["+", 3, True, "t", "v" * 300, "main", "normal", None, None, None, 1.0, None, False],
        ["+", 3, True, "t", "v", "main", "loud", None, None, None, 1.0, None, False],
        ["+", 3, True, "t", "v", "main", "normal", None, None, None, "1", None, False],
        [*WRITTEN, "s" * 300, 1.0, None, None, None], [*WRITTEN, "", "fast", None, None, None],
        [*WRITTEN, "", 1e9, None, None, None], [*WRITTEN, ""],
        ["+", 3, True, 5, "v", "main", "normal", None, None, None, 1.0, None, False],
        ["+", 3, True, "t", "v", "main", "normal", 5, None, None, 1.0, None, False],
    ],
)  # fmt: skip
def test_a_damaged_end_loses_only_itself(book: Book, record: object) -> None:
    book.add(line(1))
    whole = book.journal.path.read_bytes()
    more = msgpack.packb(["-", 1])
    assert journal.read(whole + msgpack.packb(record) + more, MACHINE) == [Unfinished(line(1))]
    assert journal.read(whole + more, MACHINE) == []


@given(st.binary(max_size=300), st.integers(0, 120))
def test_no_bytes_do_harm(noise: bytes, at: int) -> None:
    head: bytes = msgpack.packb(["koed journal", 1, MACHINE])
    whole = head + journal._added(Unfinished(line(1))) + journal._begun(1, "")
    for data in (head + noise, whole[:at] + noise + whole[at + len(noise) :]):
        try:
            entries = journal.read(data, MACHINE)
        except BadJournal:
            continue
        for entry in entries:
            journal.restorable(entry, 91.0, 30.0)
