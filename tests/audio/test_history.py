"""The ring of the last minutes, and the levels."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koed.audio.history import History, to_int16
from koed.audio.meter import SILENCE_DB, Meter


def test_int16_is_rounded_and_clipped() -> None:
    block = np.array([0.0, 1.0, -1.0, 1.5, -2.0, 0.6 / 32767], dtype=np.float32)
    assert to_int16(block).tolist() == [0, 32767, -32767, 32767, -32768, 1]


@settings(max_examples=200, deadline=None)
@given(
    size=st.integers(0, 60),
    ahead=st.integers(0, 120),
    blocks=st.lists(st.tuples(st.integers(1, 90), st.booleans()), max_size=12),
    ask=st.tuples(st.integers(0, 600), st.integers(0, 90)),
)
def test_a_page_is_what_was_written(
    size: int, ahead: int, blocks: list[tuple[int, bool]], ask: tuple[int, int]
) -> None:
    history, whole = History(size, ahead), np.empty(0, dtype=np.int16)
    for frames, silent in blocks:
        pcm = np.zeros(frames) if silent else np.arange(len(whole), len(whole) + frames) + 1
        history.write(None if silent else (pcm / 32767).astype(np.float32), frames)
        whole = np.concatenate((whole, pcm.astype(np.int16)))
    assert history.end_frame == len(whole)
    assert history.first_frame == max(0, len(whole) - size)
    first, page = history.page(*ask)
    assert first == max(ask[0], history.first_frame)
    assert np.array_equal(page, whole[first : first + ask[1]])


def test_pages_join_without_a_hole() -> None:
    history = History(5000)
    for begin in range(0, 7000, 70):
        history.write((np.arange(begin, begin + 70) / 32767).astype(np.float32), 70)
    pages, frame = [], history.first_frame
    while frame < history.end_frame:
        first, page = history.page(frame, 333)
        assert first == frame
        pages.append(page)
        frame = first + len(page)
    assert np.array_equal(np.concatenate(pages), np.arange(2000, 7000))


def test_a_reader_never_sees_what_is_being_written_over() -> None:
    """Every frame holds its own number (modulo a prime): a torn page would show."""
    history, stop = History(4096), threading.Event()
    numbers = (np.arange(480 * 2003) % 2003 / 32767).astype(np.float32)

    def write() -> None:
        at = 0
        while not stop.is_set():
            history.write(numbers[at : at + 480], 480)
            at = (at + 480) % len(numbers)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        read = 0
        while read < 1500:
            first, page = history.page(history.first_frame, 4096)
            assert np.array_equal(page, (first + np.arange(len(page))) % 2003)
            read += 1
    finally:
        stop.set()
        writer.join()


def test_frames_that_are_being_written_over_are_left_out() -> None:
    history = History(1000, ahead=10)
    history.write(np.full(1500, 0.5, dtype=np.float32), 1500)
    history._claimed += 110  # as if the writer were in the middle of a block
    first, page = history.page(0, 1000)
    assert (first, len(page)) == (600, 900)


def test_levels_of_a_sine() -> None:
    meter = Meter(48000)
    tone = (0.5 * np.sin(np.arange(4800) * 2 * np.pi * 480 / 48000)).astype(np.float32)
    for at in range(0, 4800, 480):
        meter.add(tone[at : at + 480], at)
    assert [frame for frame, _, _ in meter.windows] == [2400, 4800]
    for _, rms_db, peak_db in meter.windows:
        assert rms_db == pytest.approx(-9.03, abs=0.02)
        assert peak_db == pytest.approx(-6.02, abs=0.02)


def test_silence_is_told_once() -> None:
    meter = Meter(48000)
    meter.silence(0)
    assert not meter.windows
    meter.add(np.full(480, 0.5, dtype=np.float32), 0)
    for at in range(480, 48000, 480):
        meter.silence(at)
    assert [w[1:] for w in meter.windows][1:] == [(SILENCE_DB, SILENCE_DB)]
    for at in range(48000, 96000, 480):
        meter.add(np.zeros(480, dtype=np.float32), at)
    assert len(meter.windows) == 2
