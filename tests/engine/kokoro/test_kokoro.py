"""The engine with the real model: what it says, when, and how it goes on in another way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from koed.engine.base import Abandoning, Chunk, Job, ProfileSpec, Voice
from koed.engine.kokoro import passages, weights
from koed.engine.kokoro.engine import KokoroEngine
from koed.engine.kokoro.model import FRAME, RATE_HZ, Model, Norms
from koed.engine.kokoro.onsets import AHEAD
from koed.engine.kokoro.speech import Speech
from koed.errors import EngineError
from tests.engine.embedded.test_embedded import pitch_hz, pitches_hz
from tests.engine.kokoro.test_onnx_cut import small
from tools import natural_prosody

PACE = 0.5
LINE = "Thank you so much for the gifted subs, you are really too kind to me today!"


class Said:
    """What came of a stream."""

    def __init__(self, stream: object) -> None:
        self.chunks: list[Chunk] = list(stream)  # type: ignore[call-overload]
        self.pcm: NDArray[np.float32] = np.concatenate(
            [chunk.pcm for chunk in self.chunks] or [np.zeros(0, np.float32)]
        )
        self.words = [word for chunk in self.chunks for word in chunk.words]
        self.mouths = [mouth for chunk in self.chunks for mouth in chunk.mouths]


@pytest.fixture(scope="module")
def engine(graphs: weights.Graphs) -> Iterator[KokoroEngine]:
    made = KokoroEngine(lambda: graphs)
    with pytest.MonkeyPatch.context() as patch:  # pieces do not depend on this machine
        patch.setattr(Model, "pace", PACE)
        yield made
    made.close()


@pytest.fixture(scope="module")
def voice(engine: KokoroEngine) -> Voice:
    return engine.prepare(ProfileSpec("heart", "en", {"voice": "af_heart"}))


@pytest.fixture(scope="module")
def alpha(engine: KokoroEngine) -> Voice:
    pytest.importorskip("pyopenjtalk")
    return engine.prepare(ProfileSpec("alpha", "ja", {"voice": "jf_alpha"}))


@pytest.fixture(scope="module")
def line(engine: KokoroEngine, voice: Voice) -> Said:
    return Said(engine.stream(voice, job(LINE)))


def job(text: str, **more: object) -> Job:
    return Job(serial=1, lane=0, voice="", text=text, lang="en", **more)  # type: ignore[arg-type]


def clicks(pcm: NDArray[np.float32], joints: NDArray[np.int64]) -> list[int]:
    """Joints at which the wave bends more than anywhere within 25 ms before and after."""
    bends = np.abs(np.diff(pcm, 2))
    found = []
    for joint in joints.tolist():
        near = bends[joint - 4 : joint + 4].max()
        around = [*bends[joint - FRAME : joint - 4], *bends[joint + 4 : joint + FRAME]]
        if near > max(0.02, *around):
            found.append(joint)
    return found


def difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean difference of the logarithms of 32 bands of 250 Hz, 40 times a second; of what both
    have, counted from the end."""

    def bands(pcm: NDArray[np.float32]) -> NDArray[np.float64]:
        frames = np.lib.stride_tricks.sliding_window_view(pcm, 2 * FRAME)[::FRAME]
        power = np.abs(np.fft.rfft(frames * np.hanning(2 * FRAME)))[:, : 32 * 12]
        return np.log(power.reshape(len(frames), 32, -1).mean(2) + 1e-2)

    both = min(len(one), len(other))
    return float(np.abs(bands(one[-both:]) - bands(other[-both:])).mean())


def test_it_streams_below_the_sentence(line: Said) -> None:
    assert len(line.chunks) > 2
    assert len(line.chunks[0].pcm) < RATE_HZ
    assert {chunk.rate_hz for chunk in line.chunks} == {RATE_HZ}
    assert 3.0 < len(line.pcm) / RATE_HZ < 6.0
    assert 0.1 < np.abs(line.pcm).max() < 1.0


def test_joints_are_no_clicks(line: Said) -> None:
    joints = np.cumsum([len(chunk.pcm) for chunk in line.chunks])[:-1]
    assert not clicks(line.pcm, joints)
    torn = line.pcm.copy()
    torn[joints[1] :] += 0.3
    assert clicks(torn, joints)
    assert abs(line.pcm[0]) < 0.01
    assert abs(line.pcm[-1]) < 0.01


def test_it_sets_in_at_once(line: Said) -> None:
    loud = np.flatnonzero(np.abs(line.pcm) > 0.001)
    assert loud[0] == RATE_HZ // 100
    assert len(line.pcm) - loud[-1] < 0.15 * RATE_HZ


def test_every_word_is_told_when_it_is_heard(line: Said) -> None:
    spoken = [LINE[word.start : word.end].strip(",!") for word in line.words]
    assert spoken == [word.strip(",!") for word in LINE.split()]
    begun = 0.0
    for chunk in line.chunks:
        until = begun + len(chunk.pcm) / RATE_HZ
        assert all(begun - 1e-6 <= word.at_s <= until for word in chunk.words)
        begun = until
    assert line.mouths[0].at_s == 0.0
    assert {"a", "i", "closed"} <= {mouth.shape for mouth in line.mouths}


def test_it_is_nearly_what_the_whole_sentence_would_be(
    engine: KokoroEngine, voice: Voice, line: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = engine.stream(voice, job(LINE))
    assert isinstance(speech, Speech)
    whole = speech.whole()
    unlike = difference(line.pcm, whole)
    assert unlike < 0.5
    monkeypatch.setattr(Norms, "at", lambda *_: None)  # pieces with the moments of their own
    assert difference(Said(engine.stream(voice, job(LINE))).pcm, whole) > 1.4 * unlike


@pytest.mark.parametrize("text", ["強い敵お茶すごい！", "今日も来てくれてありがとう。"])
def test_a_sentence_with_some_silence_is_in_pieces_as_in_the_whole(
    engine: KokoroEngine, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    alpha = engine.prepare(ProfileSpec("alpha", "ja", {"voice": "jf_alpha"}))
    said = replace(job(text), lang="ja")
    speech = engine.stream(alpha, said)
    assert isinstance(speech, Speech)
    whole = speech.whole()
    pieces = Said(engine.stream(alpha, said))
    assert len(pieces.chunks) > 1
    assert difference(pieces.pcm, whole) < 0.6
    assert not caplog.records  # none was made again


def test_a_stream_that_goes_on_in_another_manner_is_in_time(
    engine: KokoroEngine, voice: Voice, line: Said
) -> None:
    speech = engine.stream(voice, job(LINE))
    next(speech)
    more = Said(engine.restyle(speech, voice, job(LINE, start_s=1.0, settings={"pitch": 4.0})))
    assert 1.0 + len(more.pcm) / RATE_HZ == pytest.approx(len(line.pcm) / RATE_HZ, abs=0.05)
    left = [word for word in line.words if word.at_s >= 1.0]
    assert [word.start for word in more.words] == [word.start for word in left]
    assert [w.at_s for w in more.words] == pytest.approx([w.at_s for w in left], abs=0.03)


@pytest.mark.parametrize(
    ("text", "settings", "semitones", "db"),
    [
        (LINE, {"pitch": 3.0}, 3.0, None),
        (LINE, {"energy": 3.0}, 0.0, 3.0),
        ("Well played!", {"energy": -3.0}, 0.0, -3.0),
    ],
)
def test_what_is_asked_is_heard(
    engine: KokoroEngine, voice: Voice, line: Said, text: str, settings: dict[str, float],
    semitones: float, db: float | None,
) -> None:  # fmt: skip
    plain = line if text == LINE else Said(engine.stream(voice, job(text)))
    asked = Said(engine.stream(voice, job(text, settings=settings)))
    found = natural_prosody.heard(plain.pcm, asked.pcm)
    assert found.pitch == pytest.approx(semitones, abs=0.25)
    if db is not None:
        assert found.energy == pytest.approx(db, abs=1.0)


def test_a_change_of_energy_in_mid_sentence_is_no_click(
    engine: KokoroEngine, voice: Voice, line: Said
) -> None:
    speech = engine.stream(voice, job(LINE))
    louder = job(LINE, start_s=3.0, settings={"energy": 12.0})
    more = Said(engine.restyle(speech, voice, louder))
    at = len(line.pcm) - len(more.pcm)
    joined = np.concatenate([line.pcm[:at], more.pcm])
    assert not clicks(joined, np.array([at]))


def test_another_voice_takes_over_at_a_word(engine: KokoroEngine, voice: Voice, line: Said) -> None:
    other = engine.prepare(ProfileSpec("michael", "en", {"voice": "am_michael"}))
    speech = engine.stream(voice, job(LINE))
    next(speech)
    more = Said(engine.restyle(speech, other, job(LINE, start_s=1.0)))
    first = next(word for word in line.words if word.at_s >= 1.0)
    assert more.words[0].start == first.start
    assert more.words[0].at_s == pytest.approx(first.at_s, abs=0.03)
    assert [word.start for word in more.words] == [
        word.start for word in line.words if word.start >= first.start
    ]


def test_what_is_abandoned_ends_at_once_and_can_be_continued(
    engine: KokoroEngine, voice: Voice, line: Said
) -> None:
    speech = engine.stream(voice, job(LINE))
    assert isinstance(speech, Abandoning)
    speech.abandon()
    assert list(speech) == []
    more = Said(engine.restyle(speech, voice, job(LINE, start_s=1.0)))
    assert 1.0 + len(more.pcm) / RATE_HZ == pytest.approx(len(line.pcm) / RATE_HZ, abs=0.05)


def test_a_piece_is_abandoned_while_it_is_made(
    engine: KokoroEngine, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def made(_wanted: object, _feed: object, options: Any) -> None:
        begun.set()
        while not options.terminate:
            time.sleep(0.001)
        raise RuntimeError("Exiting due to terminate flag being set to true.")

    monkeypatch.setattr(engine._loaded(), "_sound", SimpleNamespace(run=made))
    speech = engine.stream(voice, job(LINE))
    assert isinstance(speech, Abandoning)
    with ThreadPoolExecutor(1) as beside:
        left = beside.submit(list, speech)
        begun.wait()
        speech.abandon()
        assert left.result() == []


@pytest.mark.parametrize("semitones", [-3, 3])
def test_a_pitch_that_is_asked_for_is_heard(
    engine: KokoroEngine, voice: Voice, line: Said, semitones: int
) -> None:
    moved = Said(engine.stream(voice, job(LINE, settings={"pitch": float(semitones)})))
    heard = []
    for start in range(0, len(line.pcm) - 2 * FRAME, 2 * FRAME):
        before, after = (
            pitches_hz([Chunk(said.pcm[start : start + 2 * FRAME], RATE_HZ)])
            for said in (line, moved)
        )
        if before and after:
            heard.append(12 * np.log2(np.median(after) / np.median(before)))
    assert len(heard) > 20
    assert np.median(heard) == pytest.approx(semitones, abs=0.5)


def test_a_japanese_word_is_heard_with_its_accent(engine: KokoroEngine, alpha: Voice) -> None:
    """箸 falls after its first mora, 端 nowhere."""

    def fall(text: str) -> float:
        """Semitones from the first word's beginning to its end."""
        speech = engine.stream(alpha, replace(job(text), lang="ja"))
        assert isinstance(speech, Speech)
        pcm = Said(speech).pcm
        take = speech._renditions[0]
        heights = []
        for mora in speech._parts[0].morae[:2]:
            starts = take.raw.starts[[1 + mora.at, 1 + mora.end]] - AHEAD
            first, last = (round(take.when_s(frame) * RATE_HZ) for frame in starts)
            spoken = Chunk(pcm[first:last], RATE_HZ)
            heights.append(12 * np.log2(pitch_hz([spoken])))
        return float(heights[0] - heights[1])

    assert fall("箸が見えた。") > 1.5
    assert fall("端が見えた。") < 0.5


def test_after_the_end_there_is_nothing(engine: KokoroEngine, voice: Voice) -> None:
    speech = engine.stream(voice, job("Yes."))
    assert Said(engine.restyle(speech, voice, job("Yes.", start_s=60.0))).chunks == []
    assert Said(engine.stream(voice, job("…"))).chunks == []


def test_without_a_model_it_starts_and_refuses_its_voices() -> None:
    def nothing() -> weights.Graphs:
        raise EngineError("model_missing", "it is not installed", "make run")

    made = KokoroEngine(nothing)
    made.warm_up()
    with pytest.raises(EngineError, match="not installed"):
        made.prepare(ProfileSpec("x", "en", {}))


@pytest.mark.parametrize("what", ["empty", "no model", "of other inputs", "half"])
def test_a_graph_that_is_another_costs_its_voices_and_not_the_worker(
    graphs: weights.Graphs, tmp_path: Path, what: str
) -> None:
    other = tmp_path / "other.onnx"
    half = graphs.sound.read_bytes()[:100_000]
    data = {"empty": b"", "no model": b"no model", "of other inputs": small(), "half": half}
    other.write_bytes(data[what])
    made = KokoroEngine(lambda: weights.Graphs(graphs.text, other))
    made.warm_up()
    with pytest.raises(EngineError, match="cannot run the natural voice's model") as caught:
        made.prepare(ProfileSpec("x", "en", {}))
    assert caught.value.code == "model_broken"
    assert str(tmp_path) in caught.value.hint


def test_what_it_cannot_be_is_refused(engine: KokoroEngine) -> None:
    for spec, code in (
        (ProfileSpec("x", "en", {"voice": "af_hart"}), "bad_setting"),
        (ProfileSpec("x", "ko", {}), "unknown_language"),
        (ProfileSpec("x", "en", {}, {"audio": b""}), "bad_reference"),
    ):
        with pytest.raises(EngineError) as caught:
            engine.check(spec)
        assert caught.value.code == code


def test_a_voice_is_prepared_while_another_speaks(
    engine: KokoroEngine, voice: Voice, line: Said
) -> None:
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(engine.prepare, ProfileSpec("kumo", "ja", {"voice": "jm_kumo"}))
        spoken = Said(engine.stream(voice, job(LINE)))
        assert len(spoken.pcm) == pytest.approx(len(line.pcm), abs=FRAME)
        assert coming.result().loudness_lufs < 0


@pytest.mark.parametrize(("pace", "told"), [(0.4, 0), (1.3, 1)])
def test_a_machine_that_is_too_slow_is_told(
    engine: KokoroEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    pace: float, told: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(Model, "best_pace", pace)
    engine.warm_up()
    assert len(caplog.records) == told
    assert ("1.3 s" in caplog.text) == bool(told)


def test_a_single_vowel_is_as_loud_as_a_sentence(
    engine: KokoroEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpha = engine.prepare(ProfileSpec("alpha", "ja", {"voice": "jf_alpha"}))

    def level_db(text: str) -> float:
        said = Said(engine.stream(alpha, replace(job(text), lang="ja")))
        blocks = np.lib.stride_tricks.sliding_window_view(said.pcm, FRAME)[:: FRAME // 2]
        return float(10 * np.log10(np.percentile((blocks**2).mean(1), 90)))

    sentence = level_db("今日も来てくれて、本当にありがとう。")
    assert level_db("え") > sentence - 3.0
    monkeypatch.setattr(passages, "_BARE", 0)
    assert level_db("え") < sentence - 5.0
