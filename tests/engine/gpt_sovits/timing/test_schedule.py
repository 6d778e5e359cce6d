"""Times of words and mouths: durations, attention, and what is told while more is to come."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from koed.engine.gpt_sovits.timing import alignment, durations
from koed.engine.gpt_sovits.timing.schedule import Times, score
from tools import words as bench

LENGTHS = np.array([1.0, 2.0, 0.5, 1.0, 3.0, 0.0, 1.0, 0.5, 2.0, 1.0, 1.5, 0.5, 1.0, 2.0, 1.0])
"""Of fifteen phones, 18 in all."""
WORDS = tuple((n, n + 1, float(n)) for n in range(0, 15, 3))
SHAPES = (("rest", 0.0), ("a", 1.0), ("closed", 4.0), ("i", 4.5), ("o", 10.0))
MEAN_S = 0.1


def times(lengths: NDArray[np.float64] = LENGTHS) -> Times:
    return Times(score(WORDS, SHAPES, lengths, MEAN_S))


def attended(factors: NDArray[np.float64], sharpness: float, seed: int = 1) -> tuple[
    NDArray[np.float64], NDArray[np.float64]
]:  # fmt: skip
    """Shares [F, N] of speech whose phones last ``factors`` times as long as usual, and when each
    of them begins."""
    edges = np.concatenate([[0.0], np.cumsum(LENGTHS * factors)]) * MEAN_S
    rows = (np.arange(round(edges[-1] / 0.02)) + 0.5) * 0.02
    truth = np.interp(rows, edges, np.arange(len(edges)))
    draw = np.random.default_rng(seed)
    return bench.attention(truth, len(LENGTHS), sharpness, draw), edges


def streamed(shares: NDArray[np.float64], end_s: float) -> list[tuple[str, float]]:
    """What is told in steps of 0.2 s, with 0.24 s known ahead."""
    at, told = times(), []
    for now_s in np.arange(0.2, end_s, 0.2):
        at.reached(float(now_s), False, shares[: round((now_s + 0.24) / 0.02)])
        words, mouths = at.take(float(now_s), 0.0, False)
        told += [(str(w.start), w.at_s) for w in words] + [(m.shape, m.at_s) for m in mouths]
    at.reached(end_s, True, shares)
    words, mouths = at.take(end_s, 0.0, True)
    return told + [(str(w.start), w.at_s) for w in words] + [(m.shape, m.at_s) for m in mouths]


def test_without_attention_phones_last_as_they_usually_do() -> None:
    at = times()
    at.reached(0.9, False)
    at.reached(3.6, True)  # twice as long as it should be: what is left takes what is left
    words, mouths = at.take(3.6, 0.0, True)
    # 9 of 18 were passed at 0.9 s; 0.3 s a mean phone from there
    assert [w.at_s for w in words] == pytest.approx([0.0, 0.35, 0.75, 1.5, 2.4], abs=0.001)
    assert [m.shape for m in mouths] == ["rest", "a", "closed", "i", "o"]
    assert [m.at_s for m in mouths] == pytest.approx([0.0, 0.1, 0.45, 0.6, 1.8], abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_attention_is_followed_where_durations_are_wrong(seed: int) -> None:
    factors = np.exp(np.random.default_rng(seed).normal(0.0, 0.6, len(LENGTHS)))
    shares, edges = attended(factors, 2.0, seed)
    truth = {str(n): edges[n] for n in range(0, 15, 3)}
    found = dict(streamed(shares, float(edges[-1])))
    assert max(abs(found[word] - at_s) for word, at_s in truth.items()) < 0.06
    blind = dict(streamed(np.full(shares.shape, 1 / 15), float(edges[-1])))
    off, far = ([abs(t[w] - s) for w, s in truth.items()] for t in (found, blind))
    assert np.mean(off) < 0.5 * np.mean(far)


@pytest.mark.parametrize("kind", ["flat", "one phone draws it all", "noise"])
def test_attention_that_tells_nothing_changes_nothing(kind: str) -> None:
    rows, count = 90, len(LENGTHS)
    shares = np.full((rows, count), 1 / count)
    if kind == "one phone draws it all":
        shares = np.tile(np.eye(count)[7], (rows, 1))
    elif kind == "noise":
        shares = bench.attention(np.zeros(rows), count, 0.0, np.random.default_rng(2))
    plain, told = times(), times()
    for end_s, known, ended in ((0.3, 30, False), (0.9, 60, False), (1.8, 90, True)):
        plain.reached(end_s, ended)
        told.reached(end_s, ended, shares[:known])
    assert told.take(1.8, 0.0, True) == plain.take(1.8, 0.0, True)


def test_what_is_told_rises_and_is_never_behind_what_was_heard() -> None:
    for seed in range(6):
        draw = np.random.default_rng(seed)
        shares = draw.dirichlet(np.full(15, 0.2), 100)  # sharp, and nonsense
        found = streamed(shares, 2.0)
        for names in ({"0", "3", "6", "9", "12"}, {"rest", "a", "closed", "i", "o"}):
            at = [at_s for name, at_s in found if name in names]
            assert at == sorted(at)
            assert all(0.0 <= at_s <= 2.0 for at_s in at)
        assert {"0", "3", "6", "9", "12"} <= {name for name, _ in found}


def test_a_shape_that_holds_where_a_restyled_stream_sets_in_is_told_again() -> None:
    at = times()
    at.reached(1.0, False)
    first = at.take(1.0, 0.0, False)
    assert [m.shape for m in first[1]] == ["rest", "a", "closed", "i"]
    again = at.again(0.5)
    again.reached(1.8, True)
    words, mouths = again.take(1.8, 0.0, True)
    assert [w.start for w in words] == [6, 9, 12]
    assert (mouths[0].shape, mouths[0].at_s) == ("closed", pytest.approx(0.5))
    assert all(w.at_s >= 0.5 for w in words)


def test_nothing_is_told_before_the_sound_and_its_silence_counts_for_none() -> None:
    at = times()
    at.reached(0.2, False)
    assert at.take(0.2, 0.2, False) == ((), ())
    at.reached(0.6, False)
    words, mouths = at.take(0.6, 0.2, False)
    assert [(w.start, round(w.at_s, 2)) for w in words] == [(0, 0.0), (3, 0.15)]
    assert [(m.shape, round(m.at_s, 2)) for m in mouths] == [("a", 0.0), ("closed", 0.25)]


@pytest.mark.parametrize(
    ("lang", "phones"),
    [
        ("en", "HH AH0 L OW1 , W ER1 L D ."),
        ("ja", "k o [ N n i ch i w a , UNK"),
        ("zh", "n i2 h ao3 , m a5 ."),
        ("yue", "Yn Yei5 , Yaa Ya3 ?"),
        ("ko", "ㅇ ㅓ ㅂ ㅜ ㄴ 空 ㅇ ㅏ ."),
    ],
)
def test_the_last_syllable_before_a_pause_is_longer(lang: str, phones: str) -> None:
    names = phones.split()
    found = durations.weights([(names, lang)])
    alone = [durations.weights([([name, "."], lang)])[0] for name in names]
    assert len(found) == len(names)
    assert (found >= 0).all()
    assert found[0] < alone[0] or found[0] == 0  # alone, it is the last
    assert durations.weights([(["."], lang), (["."], lang)]).tolist()[-1] == durations.PAUSE_AT_END


def test_a_long_line_is_followed_in_little_time_and_one_phone_is_no_trouble() -> None:
    edges = np.arange(2.0)
    one = alignment.Section(np.ones((12, 1)), edges, 0, 0.0, 0.1, True)
    assert alignment.follow(one) is None
    sharp = np.eye(200)[np.repeat(np.arange(200), 4)]
    found = alignment.follow(alignment.Section(sharp, np.arange(201.0), 0, 0.0, 0.25, True))
    assert found is not None
    assert np.abs(found - np.repeat(np.arange(200), 4)).max() <= 1
