"""Streams: chunks are parts of one sound, without clicks, stopped at once, and tried anew."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from koed.engine.base import THREADS_VARIABLE, Chunk, Word
from koed.engine.gpt_sovits import guards, threads
from koed.engine.gpt_sovits.decoding.vocoder_graphs import WindowGraphs
from koed.engine.gpt_sovits.model.sovits import SAMPLE_RATE_HZ, SoundModel
from koed.engine.gpt_sovits.model.style_encoder import Style
from koed.engine.gpt_sovits.model.text_encoder import Encoded
from koed.engine.gpt_sovits.streaming import ATTEMPTS, Codes, Pace, Speech
from koed.engine.gpt_sovits.trim import MARGIN_S, Trimmer
from koed.errors import EngineError
from tests.engine.gpt_sovits.small import given, said, script, sound_model, style_of
from tools.seams import measure, streamed

CODES = said(40)


@pytest.fixture(scope="module")
def model() -> SoundModel:
    return sound_model()


@pytest.fixture(scope="module")
def style(model: SoundModel) -> Style:
    return style_of(model)


def heard(chunks: Sequence[Chunk]) -> np.ndarray:
    return np.concatenate([chunk.pcm for chunk in chunks])


# --- one sound -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speed", "pieces"),
    [(1.0, (2, 3, 9, 11)), (1.0, (50,)), (1.3, (2, 2, 2, 90)), (0.8, (7, 31, 5))],
)
def test_given_all_codes_chunks_of_any_size_are_parts_of_one_sound(
    model: SoundModel, style: Style, speed: float, pieces: tuple[int, ...]
) -> None:
    encoded = model.encode(torch.tensor(CODES), script().phones, style, speed)
    speech = Speech(model, model, style, script(speed=speed), given(CODES))
    whole = model.synthesize(torch.tensor(CODES), script().phones, style, 11, speed).numpy()
    parts, end = [], 0
    while end < encoded.frames:
        for frames in pieces:
            end = min(encoded.frames, end + frames)
            piece = speech._begin(encoded, end, last=end == encoded.frames)
            parts.append(speech._sound(piece))
    joined = np.concatenate(parts)
    assert joined.shape == whole.shape
    assert np.abs(joined - whole).max() <= 1e-4 * np.abs(whole).max()


def test_the_whole_output_is_the_join_of_the_chunks_and_as_long_as_one_decode(
    model: SoundModel, style: Style
) -> None:
    whole, _ = streamed(model, CODES, style, script(), Pace(first=90, lookahead=2))
    sound, joins = streamed(model, CODES, style, script(), Pace(first=5, lookahead=6))
    assert len(joins) >= 3
    assert abs(len(sound) - len(whole)) <= 0.05 * SAMPLE_RATE_HZ


def test_a_thread_beside_renders_the_same_while_codes_are_made(
    model: SoundModel, style: Style
) -> None:
    alone = list(Speech(model, model, style, script(), given(CODES)))
    codes, made = given(CODES), []

    class Late:
        """Renders when more codes are there than when it was asked, or the end."""

        def decode_window(self, encoded: Encoded, *rest: Any) -> torch.Tensor:
            deadline = time.monotonic() + 30
            while len(codes.known) == encoded.frames // 2 and not codes.ended:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            made.append(threading.current_thread().name)
            return model.decode_window(encoded, *rest)

    hands = threads.beside(2)
    assert hands is not None
    with hands:
        together = list(Speech(model, Late(), style, script(), codes, hands))
    assert np.array_equal(heard(alone), heard(together))
    assert [len(c.pcm) for c in alone if len(c.pcm)] == [len(c.pcm) for c in together if len(c.pcm)]
    assert set(made) == {"sound_0"}
    assert threads.beside(1) is None


def test_a_fault_in_what_comes_next_does_not_keep_a_chunk_back(
    model: SoundModel, style: Style
) -> None:
    def attempt(seed: int) -> Iterator[int]:
        yield from CODES[:15]
        raise EngineError("oom", "no memory")

    hands = threads.beside(2)
    assert hands is not None
    codes = Codes(attempt, lambda known, ended: None, 5)
    got: list[Chunk] = []
    with hands, pytest.raises(EngineError, match="no memory"):
        got.extend(Speech(model, model, style, script(), codes, hands))
    assert len(heard(got)) > 0.2 * SAMPLE_RATE_HZ


@pytest.mark.parametrize(
    ("told", "cores", "wanted"),
    [("", 1, 1), ("", 2, 2), ("", 4, 2), ("", 8, 4), ("", 32, 4), ("1", 8, 1), ("6,2", 2, 6)],
)
def test_threads_leave_room_for_others_unless_told(
    told: str, cores: int, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert threads.allowed({THREADS_VARIABLE: told} if told else {}) == wanted


def test_the_first_chunk_is_short_and_comes_after_few_codes(
    model: SoundModel, style: Style
) -> None:
    pulled = 0

    def attempt(seed: int) -> Iterator[int]:
        nonlocal pulled
        for code in CODES:
            pulled += 1
            yield code

    codes = Codes(attempt, lambda known, ended: None, seed=1)
    speech = Speech(model, model, style, script(), codes)
    first = next(chunk for chunk in speech if len(chunk.pcm))
    assert 0.05 <= len(first.pcm) / SAMPLE_RATE_HZ <= 0.3
    assert pulled == Pace().first + Pace().lookahead


def test_the_same_seed_gives_the_same_sound_and_another_another(
    model: SoundModel, style: Style
) -> None:
    def sound(seed: int) -> np.ndarray:
        plan = dataclasses.replace(script(), seed=seed)
        return heard(list(Speech(model, model, style, plan, given(CODES))))

    assert np.array_equal(sound(1), sound(1))
    assert not np.array_equal(sound(1), sound(2))


# --- seams -----------------------------------------------------------------------------------


class Drifting:
    """A low tone whose level is another one in each decode, as far as sound models disagree."""

    step = 2 * np.pi * 100 / SAMPLE_RATE_HZ

    def decode_window(self, encoded: Any, first: int, frames: int, *more: Any) -> torch.Tensor:
        at = torch.arange(first * 640, min(first + frames, encoded.frames) * 640)
        return 0.3 * torch.sin(at * self.step) + encoded.frames % 16 / 160


def test_joins_do_not_click(model: SoundModel, style: Style) -> None:
    """The derivative across joins is hardly larger than that of the tone."""
    chunks = list(Speech(model, Drifting(), style, script(Pace(first=3)), given(CODES)))
    sound = heard(chunks)
    joins = np.cumsum([len(c.pcm) for c in chunks if len(c.pcm)])[:-1]
    assert len(joins) >= 3
    steepest = 0.3 * Drifting.step
    assert np.abs(np.diff(sound)).max() <= 1.1 * steepest
    assert all(abs(sound[j] - sound[j - 1]) <= 1.1 * steepest for j in joins)


def test_look_ahead_brings_the_stream_nearer_to_one_decode(model: SoundModel, style: Style) -> None:
    short, long = measure(model, CODES, style, script(), [2, 24])
    assert long.else_db < short.else_db
    assert long.seam_db < short.seam_db


# --- ends ------------------------------------------------------------------------------------


def test_closing_stops_the_model_before_the_next_code(model: SoundModel, style: Style) -> None:
    made: list[int] = []
    closed: list[bool] = []

    def attempt(seed: int) -> Iterator[int]:
        try:
            for code in CODES:
                made.append(code)
                yield code
        finally:
            closed.append(True)

    speech = Speech(model, model, style, script(), Codes(attempt, lambda k, e: None, seed=1))
    for _ in range(3):
        assert not len(next(speech).pcm)
    speech.close()
    assert closed == [True]
    assert len(made) == 3
    with pytest.raises(StopIteration):
        next(speech)


def test_silence_at_both_ends_is_cut_whatever_the_pieces() -> None:
    tone = 0.3 * np.sin(np.arange(16000) / 10).astype(np.float32)
    pause = np.zeros(6400, np.float32)
    silence = np.zeros(9600, np.float32)
    whole = np.concatenate([silence, tone, pause, tone, silence])
    want = np.concatenate([tone, pause, tone])
    margin = round(MARGIN_S * 32000)
    for size in (320, 640, 6400, len(whole)):
        trim = Trimmer(32000)
        cuts = range(0, len(whole), size)
        got = np.concatenate([trim.push(whole[c : c + size], c + size >= len(whole)) for c in cuts])
        assert trim.lead == len(silence) - margin
        assert trim.emitted == len(got) == len(want) + 2 * margin
        assert np.array_equal(got[margin:-margin], want)


def test_a_long_pause_within_is_not_held_back() -> None:
    trim = Trimmer(32000)
    trim.push(np.full(3200, 0.3, np.float32), False)
    got = sum(len(trim.push(np.zeros(3200, np.float32), False)) for _ in range(8))
    assert got >= 16000


def test_sound_that_is_all_silent_is_an_error(model: SoundModel, style: Style) -> None:
    class Mute:
        def decode_window(self, encoded: Any, first: int, frames: int, *more: Any) -> torch.Tensor:
            return torch.zeros(frames * 640)

    with pytest.raises(EngineError) as caught:
        list(Speech(model, Mute(), style, script(), given(CODES)))
    assert caught.value.code == "speech_silent"


def test_samples_that_are_no_numbers_never_leave(model: SoundModel, style: Style) -> None:
    class Broken:
        def decode_window(self, encoded: Any, first: int, frames: int, *more: Any) -> torch.Tensor:
            return torch.full((frames * 640,), torch.nan)

    with pytest.raises(EngineError) as caught:
        list(Speech(model, Broken(), style, script(), given(CODES)))
    assert caught.value.code == "speech_broken"


# --- guards ----------------------------------------------------------------------------------

WRONG, RIGHT, LATE = [0] * 40, [1, 2, 3] * 10, [1, 2, 3] * 10 + [0] + [4] * 5


@dataclasses.dataclass
class Trial:
    """Each attempt says the next of ``attempts``; a 0 is wrong."""

    attempts: list[list[int]]
    seeds: list[int] = dataclasses.field(default_factory=list)
    verdicts: list[str] = dataclasses.field(default_factory=list)

    def codes(self, hold: int = 20, budget_s: float = 1e9, seed: int = 9) -> Codes:
        def attempt(drawn: int) -> Iterator[int]:
            self.seeds.append(drawn)
            yield from self.attempts[min(len(self.seeds), len(self.attempts)) - 1]

        def judge(known: list[int], ended: bool) -> guards.Verdict | None:
            return "runaway" if 0 in known else None

        return Codes(attempt, judge, seed, hold, budget_s, wrong=self.verdicts.append)


def pull(codes: Codes, count: int) -> list[int]:
    for _ in codes.until(count):
        pass
    return codes.known


def test_what_is_wrong_is_tried_anew_with_another_seed_before_anything_is_given() -> None:
    trial = Trial([WRONG, WRONG, RIGHT])
    assert pull(trial.codes(), 5) == RIGHT[:20]
    assert len(set(trial.seeds)) == 3
    assert trial.verdicts == ["runaway", "runaway"]


def test_retries_are_the_same_for_the_same_seed() -> None:
    trials = [Trial([WRONG, RIGHT]) for _ in range(3)]
    for trial, seed in zip(trials, (9, 9, 10), strict=True):
        pull(trial.codes(seed=seed), 5)
    assert trials[0].seeds == trials[1].seeds != trials[2].seeds


def test_what_stays_wrong_is_an_error_with_a_code() -> None:
    trial = Trial([WRONG])
    with pytest.raises(EngineError) as caught:
        pull(trial.codes(), 5)
    assert caught.value.code == "speech_runaway"
    assert len(trial.seeds) == ATTEMPTS


def test_no_time_for_another_attempt_is_an_error() -> None:
    trial = Trial([WRONG, RIGHT])
    with pytest.raises(EngineError):
        pull(trial.codes(budget_s=-1.0), 5)
    assert len(trial.seeds) == 1


def test_after_the_first_sample_nothing_is_tried_anew() -> None:
    trial = Trial([LATE, RIGHT])
    codes = trial.codes()
    pull(codes, 5)
    with pytest.raises(EngineError) as caught:
        pull(codes, 40)
    assert caught.value.code == "speech_runaway"
    assert len(trial.seeds) == 1


# --- restyle ---------------------------------------------------------------------------------


def test_restyled_sound_goes_on_with_the_same_codes_in_the_other_style(
    model: SoundModel, style: Style
) -> None:
    other, plan = style_of(model, 2), script(Pace(first=5, lookahead=6))
    old, new = (heard(list(Speech(model, model, s, plan, given(CODES)))) for s in (style, other))
    codes = given(CODES)
    speech = Speech(model, model, style, plan, codes)
    before: list[np.ndarray] = []
    while sum(map(len, before)) < 0.5 * SAMPLE_RATE_HZ:
        before.append(next(speech).pcm)
    start = round(0.4321 * SAMPLE_RATE_HZ)
    after = heard(list(speech.restyled(model, model, other, start / SAMPLE_RATE_HZ)))
    assert codes.attempts == 1
    first = np.concatenate(before)
    assert np.array_equal(first, old[: len(first)])
    assert abs(len(after) - (len(new) - start)) <= 640
    length = min(len(after), len(new) - start)
    far_in = slice(length // 2, length - 1280)
    near_new = np.abs(after[far_in] - new[start:][far_in]).mean()
    near_old = np.abs(after[far_in] - old[start:][far_in]).mean()
    assert near_new < 0.3 * near_old


def test_words_are_told_once_in_order_and_again_only_where_a_restyled_stream_sets_in(
    model: SoundModel, style: Style
) -> None:
    chunks = list(Speech(model, model, style, script(), given(CODES)))
    words = [word for chunk in chunks for word in chunk.words]
    total_s = len(heard(chunks)) / SAMPLE_RATE_HZ
    assert [word.start for word in words] == [0, 5, 10, 15]
    assert sorted(word.at_s for word in words) == [word.at_s for word in words]
    assert 0 <= words[0].at_s <= words[-1].at_s <= total_s
    speech = Speech(model, model, style, script(), given(CODES))
    first: list[Word] = []
    while len(first) < 2:
        first += next(speech).words
    start_s = first[1].at_s - 0.01
    rest = [w for c in speech.restyled(model, model, style, start_s) for w in c.words]
    assert [word.start for word in rest] == [5, 10, 15]
    assert all(word.at_s >= start_s for word in rest)


def test_words_share_the_time_evenly_once_the_end_is_known(model: SoundModel, style: Style) -> None:
    """At the voice's own pace, phones lie where they are reckoned."""
    codes = said(40)  # 20 phones at two codes each
    chunks = list(Speech(model, model, style, script(), given(codes)))
    words = [word for chunk in chunks for word in chunk.words]
    assert [word.at_s for word in words] == pytest.approx([0.0, 0.4, 0.8, 1.2], abs=0.05)


class _Attentive:
    """A sound model whose encoder looks at phones that do not share the time evenly."""

    def __init__(self, model: SoundModel, rows: Sequence[int]) -> None:
        self._model, self._rows = model, rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, codes: torch.Tensor, *rest: Any) -> Any:
        encoded = self._model.encode(codes, *rest)
        shares = torch.full_like(encoded.attention, 0.001)
        phones = torch.tensor(self._rows)[: len(shares)]
        shares[torch.arange(len(phones)), phones] = 1.0
        return dataclasses.replace(encoded, attention=shares / shares.sum(1, keepdim=True))


@pytest.mark.parametrize("speed", [1.0, 1.25])
def test_words_begin_where_attention_says_so_at_any_speed(
    model: SoundModel, style: Style, speed: float
) -> None:
    """Of 20 phones, the first ten take three times as long as the others."""
    rows = [n for n in range(20) for _ in range(6 if n < 10 else 2)]
    attentive: Any = _Attentive(model, rows)
    plan = script(Pace(first=4), speed=speed)
    chunks = list(Speech(attentive, model, style, plan, given(said(40))))
    found = [word.at_s for chunk in chunks for word in chunk.words]
    expected = [rows.index(n) * 0.02 / speed for n in (0, 5, 10, 15)]
    assert found == pytest.approx(expected, abs=0.06)
    shapes = [mouth.shape for chunk in chunks for mouth in chunk.mouths]
    assert shapes == ["a", "closed", "o", "rest"]


def test_on_a_gpu_hardly_a_chunk_of_a_line_lies_outside_what_was_captured(
    model: SoundModel, style: Style, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = WindowGraphs(model)
    windows.warm_up()
    eager: list[int] = []
    fallback = model.decode_window

    def counted(encoded: Encoded, first_frame: int, frames: int, *rest: Any) -> torch.Tensor:
        eager.append(first_frame)
        return fallback(encoded, first_frame, frames, *rest)

    monkeypatch.setattr(model, "decode_window", counted)
    codes = said(190)
    chunks = list(Speech(model, windows, style, script(phones=100), given(codes)))
    assert not eager
    monkeypatch.undo()
    plain = list(Speech(model, model, style, script(phones=100), given(codes)))
    assert np.abs(heard(chunks) - heard(plain)).max() <= 1e-4 * np.abs(heard(plain)).max()
