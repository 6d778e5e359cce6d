"""The official pipeline: recorded runs to the sample, and each of its defects by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from koed.engine.gpt_sovits.checkpoints.s1_s2_keys import S1
from koed.engine.gpt_sovits.decoding.decode import Ending, Utterance
from koed.engine.gpt_sovits.model.sampling import Sampling
from koed.engine.gpt_sovits.model.t2s import T2S
from tests.engine.gpt_sovits.small import sound_model, style_of
from tests.parity import e2e
from tests.parity.__main__ import main as judge
from tests.parity.case import Case
from tests.parity.weights import fill
from tools.parity import official
from tools.parity.official import (
    MUTE_CODE,
    Item,
    Official,
    Pcm,
    Request,
    Speaker,
    batches,
    cut,
)

DATA = Path(__file__).parents[2] / "parity" / "data"
RATE = 1280  # samples a code
PAUSE = 9600


@pytest.mark.slow
@pytest.mark.parametrize("case", [*e2e.cases(DATA)], ids=lambda case: case.name)
def test_recorded_runs_come_out_to_the_sample(case: Case) -> None:
    result = case.run()
    assert "audio" in result.worst
    assert result.failed == []


# -- which items go together ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths", "size", "want"),
    [
        ([9, 14, 10], 3, [[0, 2, 1]]),
        ([9, 14, 10], 2, [[0, 2], [1]]),
        ([14, 9], 1, [[1], [0]]),
        ([5, 5, 5], 2, [[0, 1], [2]]),
        ([5, 60, 6], 3, [[0, 2], [1]]),  # 6 is far from the mean of all
    ],
)
def test_batches_are_of_like_length(lengths: list[int], size: int, want: list[list[int]]) -> None:
    assert batches(lengths, Request(batch_size=size)) == want


@pytest.mark.parametrize(
    "change", [{"bucket": False}, {"speed": 1.2}, {"fragments": True}, {"streaming": True}]
)
def test_batches_keep_the_order_where_it_is_heard(change: dict[str, Any]) -> None:
    assert batches([14, 9, 3], Request(batch_size=2, **change)) == [[0, 1], [2]]


# -- cutting a stream ----------------------------------------------------------------------------


class Decoded:
    """Codes as an utterance gives them."""

    def __init__(self, codes: list[int], ending: Ending = "end") -> None:
        self.codes, self.how, self.ending = codes, ending, cast(Ending | None, None)

    def __iter__(self) -> Iterator[int]:
        for n, code in enumerate(self.codes):
            self.ending = "limit" if self.how == "limit" and n + 1 == len(self.codes) else None
            yield code
        self.ending = self.how


def pieces(
    codes: list[int], least: int, mute: Tensor | None = None, ending: Ending = "end"
) -> list[tuple[list[int], bool]]:
    return list(cut(cast(Utterance, Decoded(codes, ending)), least, mute))


def test_even_cuts_leave_a_rest_which_may_be_nothing() -> None:
    assert pieces([1, 2, 3, 4, 5], 2) == [([1, 2], False), ([3, 4], False), ([5], True)]
    assert pieces([1, 2], 2) == [([1, 2], False), ([], True)]
    assert pieces([1, 2], 2, ending="limit") == [([1, 2], True)]


def test_codes_behind_a_silence_are_handed_out_twice() -> None:
    quiet = torch.full((10,), -0.5)
    quiet[7] = 0.9
    codes = [1, 2, 7, 7, 3, 4, 5, 6]
    found = pieces(codes, 3, quiet)
    assert found == [([1, 2, 7, 7, 3], False), ([7, 3, 4, 5, 6], True)]


def test_silence_too_early_or_none_at_all_is_no_place_to_cut() -> None:
    quiet = torch.full((10,), -0.5)
    assert pieces([1, 2, 3, 4, 5, 6], 2, quiet) == [([1, 2, 3, 4, 5, 6], True)]
    quiet[7] = 0.9
    assert pieces([7, 7, 3, 4, 5, 6], 3, quiet) == [([7, 7, 3, 4, 5, 6], True)]


def test_silence_is_likest_itself() -> None:
    likeness = official.mute_likeness(torch.randn(1025, 8, generator=torch.manual_seed(1)))
    assert int(likeness.argmax()) == MUTE_CODE


# -- levels --------------------------------------------------------------------------------------


def test_loud_chunks_come_down_to_full_scale_which_wraps() -> None:
    wave = official.level(torch.tensor([2.0, -2.0, 0.5]))
    assert official.to_pcm(wave).tolist() == [-32768, -32768, 8192]
    quiet = torch.tensor([0.5, -0.99999 / 32768])
    assert official.to_pcm(official.level(quiet)).tolist() == [16384, 0]  # truncated


def test_the_overlap_fades_from_the_old_to_the_new() -> None:
    mixed = official.blend(torch.ones(1, 1, 4), torch.zeros(1, 1, 6))[0, 0]
    assert torch.allclose(mixed[:3], torch.tensor([1.0, 0.92388, 0.70711]), atol=1e-5)
    assert mixed[4:].tolist() == [0, 0]


# -- speaking, with small models -----------------------------------------------------------------


@cache
def text_model() -> T2S:
    shapes = S1(layers=2, width=32).shapes()
    return T2S({key: torch.from_numpy(fill(key, shape)) for key, shape in shapes.items()}, heads=2)


def speaker(phones: int = 6) -> Speaker:
    style = style_of(sound_model())
    return Speaker(style, torch.arange(8) + 40, torch.arange(phones) + 3, None)


def items(*lengths: int) -> list[Item]:
    return [Item(torch.arange(n) + 10, None, n) for n in lengths]


def say(
    texts: list[Item], who: Speaker | None = None, **options: Any
) -> tuple[list[Pcm], Official]:
    """Until the limit, as it is the only end that these settings know."""
    options = {"early_stop_codes": 15, **options}
    request = Request(Sampling(top_k=1), noise_scale=0.0, **options)
    voice = Official(text_model(), sound_model())
    return list(voice.say(texts, who or speaker(), request)), voice


def test_nothing_to_say_is_a_second_at_another_rate() -> None:
    (chunk,), _ = say([])
    assert len(chunk) == 16000
    assert not chunk.any()


def test_early_end_loses_the_first_code_alone_the_last_in_a_batch() -> None:
    _, alone = say(items(12), parallel=False)
    _, together = say(items(12))
    _, whole = say(items(12), parallel=False, early_stop_codes=30)
    assert len(alone.calls[0].codes) == len(together.calls[0].codes) == 15
    assert alone.calls[0].codes[:-1] == together.calls[0].codes[1:]
    assert alone.calls[0].codes == whole.calls[0].codes[:15]


def test_without_transcript_the_reference_is_not_continued_and_nothing_is_lost() -> None:
    who = speaker(phones=0)
    _, heard = say(items(12), who)
    other = dataclasses.replace(who, codes=who.codes + 300)
    _, same = say(items(12), other)
    assert heard.calls == same.calls
    assert len(heard.calls[0].codes) == 16


def test_a_batch_is_one_utterance_for_the_sound_model_but_not_at_other_speeds() -> None:
    texts = items(14, 9)
    (sound,), voice = say(texts, batch_size=2)
    assert [(len(c.codes), c.phones) for c in voice.calls] == [(30, 23)]
    assert len(sound) == 30 * RATE + 2 * PAUSE
    (_,), voice = say(texts, batch_size=2, speed=1.2)
    assert [(len(c.codes), c.phones) for c in voice.calls] == [(15, 14), (15, 9)]


def test_sorted_segments_come_out_in_the_order_of_the_text() -> None:
    (sorted_,), voice = say(items(14, 9))
    (plain,), _ = say(items(14, 9), bucket=False)
    assert [c.phones for c in voice.calls] == [9, 14]
    assert np.array_equal(sorted_, plain)


def test_fragments_are_the_whole_in_pieces() -> None:
    (whole,), _ = say(items(14, 9))
    chunks, _ = say(items(14, 9), fragments=True)
    assert len(chunks) == 2
    assert np.array_equal(np.concatenate(chunks), whole)


def test_streams_send_an_unaligned_last_chunk_with_its_overlap() -> None:
    chunks, voice = say(items(12), streaming=True, fixed=True, chunk_codes=12)
    assert [len(c.codes) for c in voice.calls] == [12, 16]
    first, last, pause = chunks
    # Ten codes are held against the overlap of two; the last chunk has four new ones.
    assert (voice.calls[1].kept_codes, voice.calls[1].blended_frames) == (12, 16)
    assert [len(first), len(last), len(pause)] == [10 * RATE, 6 * RATE, PAUSE]
    assert voice.offsets == []


def test_streams_align_chunks_between() -> None:
    chunks, voice = say(items(12), streaming=True, fixed=True, early_stop_codes=35, chunk_codes=12)
    assert [len(c.codes) for c in voice.calls] == [12, 24, 36]
    assert len(voice.offsets) == 1
    assert len(chunks[1]) == 12 * RATE - voice.offsets[0]


def test_streams_say_the_first_of_each_batch_only() -> None:
    _, voice = say(items(12, 13), streaming=True, fixed=True, batch_size=2)
    assert {c.phones for c in voice.calls} == {12}


# -- the judge -----------------------------------------------------------------------------------


def test_judge_names_what_it_does_not_judge_and_survives_what_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train", "manifests", "e2e"):
        (tmp_path / name).mkdir()
    (tmp_path / "e2e" / "broken.npz").write_bytes(b"no archive")
    (tmp_path / "manifests" / "odd.json").write_text('{"fill_check": {"a": {}}}', encoding="utf-8")
    assert judge([str(tmp_path)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert '"failed": ["e2e/cases", "weights/odd"]' in last
    assert '"not_judged": ["train"]' in last
