"""The embedded voices with the real libraries: what they say, when, and what they survive."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koed.config.profile import load_profile
from koed.engine import settings
from koed.engine.base import Chunk, Job, ProfileSpec, Voice, Word
from koed.engine.embedded import espeak, flite, openjtalk
from koed.engine.embedded.engine import NOMINAL_LUFS, SCHEMA, EmbeddedEngine
from koed.engine.embedded.hts import Hts
from koed.engine.embedded.script import as_ascii, write
from koed.engine.embedded.sound import Manner, Mark, Piece, Shape, chunks
from koed.engine.loudness import integrated_lufs
from koed.errors import EngineError

FOLDER = Path(__file__).parents[3] / "profiles"
PROFILES = [FOLDER / f"{name}.yaml" for name in ("angus", "hana", "ken", "rin", "robo")]
SENTENCE = {
    "en": "Good evening and welcome to the stream, my friends.",
    "ja": "今日も配信に来てくれてありがとう。",
    "de": "Guten Abend, meine lieben Freunde.",
}
HOSTILE = [
    "", "\0", "!!!...", "😀", "\u202e\u200f", "\ud800", "、。", "っ", "\x1b[31m", "-", "((((",
    "'''", "a\0b", "x" * 41, "<speak>&amp;", "--voices", "-w /x", "%s%n%d", "1" * 41, "漢字",
    "é à ü", "\uffff", "Привет", "a\u0301" * 50, "あ" * 20, "aaaaa", "w" * 5, "〜", "ー", "々", "٣",
    "C++ $5.20 £5 10€ ½", "👩\u200d👩\u200d👧 hi", 'he said "no', "http://a.b/c?d=e#h", "한국어",
]  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddedEngine]:
    engine = EmbeddedEngine()
    engine.warm_up()
    yield engine
    engine.close()


def job(text: str, lang: str, **fields: Any) -> Job:
    return Job(serial=1, lane=1, voice="", text=text, lang=lang, **fields)


def voice(**given: Any) -> Voice:
    """A voice that nobody has measured: quicker than `EmbeddedEngine.prepare`."""
    return Voice("x", "", "en", NOMINAL_LUFS, settings.read(SCHEMA, given, "embedded"))


def speak(engine: EmbeddedEngine, text: str, lang: str, **given: Any) -> list[Chunk]:
    fields = {name: given.pop(name) for name in ("speed", "settings") if name in given}
    return list(engine.stream(voice(**given), job(text, lang, **fields)))


def joined(chunks: list[Chunk]) -> np.ndarray:
    return np.concatenate([chunk.pcm for chunk in chunks])


def seconds(chunks: list[Chunk]) -> float:
    return sum(len(chunk.pcm) for chunk in chunks) / chunks[0].rate_hz


def words(chunks: list[Chunk]) -> list[Word]:
    return [word for chunk in chunks for word in chunk.words]


def pitch_hz(chunks: list[Chunk]) -> float:
    """The median of `pitches_hz`."""
    return float(np.median(pitches_hz(chunks)))


def pitches_hz(chunks: list[Chunk]) -> list[float]:
    """Of voiced frames, by the best lag of the autocorrelation."""
    pcm, rate = joined(chunks), chunks[0].rate_hz
    frame, low, high = rate // 25, rate // 700, rate // 70
    found = []
    for start in range(0, len(pcm) - frame, frame // 4):
        piece = pcm[start : start + frame]
        power = np.correlate(piece, piece, "full")[frame - 1 :]
        # the first lag that is nearly the best one: not an octave below
        best = low + int(np.argmax(power[low:high] > 0.85 * power[low:high].max()))
        best += int(np.argmax(power[best : best + rate // 700]))
        if power[0] > 0.0004 * frame and power[best] > 0.6 * power[0]:
            found.append(rate / best)
    return found


def spread(chunks: list[Chunk]) -> float:
    """Of the pitch, in semitones: half of all frames are within it."""
    low, high = np.percentile(pitches_hz(chunks), [25, 75])
    return float(12 * np.log2(high / low))


def centroid_hz(chunks: list[Chunk]) -> float:
    pcm = joined(chunks)
    power = np.abs(np.fft.rfft(pcm)) ** 2
    hz = np.fft.rfftfreq(len(pcm), 1 / chunks[0].rate_hz)
    band = hz < 7000
    return float((power * hz)[band].sum() / power[band].sum())


@pytest.mark.parametrize("lang", SENTENCE)
def test_speech_is_trimmed_and_comes_in_small_chunks(engine: EmbeddedEngine, lang: str) -> None:
    spoken = speak(engine, SENTENCE[lang], lang)
    pcm, rate = joined(spoken), spoken[0].rate_hz
    assert pcm.dtype == np.float32
    assert 1.0 < seconds(spoken) < 6.0
    assert len({chunk.rate_hz for chunk in spoken}) == 1
    assert max(len(chunk.pcm) for chunk in spoken) <= 0.1 * rate
    for edge in (pcm[: rate // 10], pcm[-rate // 10 :]):
        assert np.abs(edge).max() > 0.005


@pytest.mark.parametrize("lang", SENTENCE)
def test_speed_shortens(engine: EmbeddedEngine, lang: str) -> None:
    plain, fast = (seconds(speak(engine, SENTENCE[lang], lang, speed=s)) for s in (1.0, 1.5))
    assert fast == pytest.approx(plain / 1.5, rel=0.15)


@pytest.mark.parametrize("lang", SENTENCE)
def test_what_a_line_says_comes_on_top_of_the_voice(engine: EmbeddedEngine, lang: str) -> None:
    own = {"pitch": -2.0, "intonation": 0.8}
    plain, high, flat, both = (
        speak(engine, SENTENCE[lang], lang, **own, settings=line)
        for line in ({}, {"pitch": 3.0}, {"range": 0.0}, {"pitch": 3, "range": 0.5})
    )
    semitones = 12 * np.log2(pitch_hz(high) / pitch_hz(plain))
    assert semitones == pytest.approx(3.0, abs=0.5)
    if lang != "de":  # espeak-ng has no such thing
        assert spread(flat) < 0.5 < spread(plain)
        same = speak(engine, SENTENCE[lang], lang, pitch=1.0, intonation=0.4)
        assert np.array_equal(joined(both), joined(same))


@pytest.mark.parametrize("lang", SENTENCE)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_all_there_is_at_once_is_still_speech(
    engine: EmbeddedEngine, lang: str, sign: float
) -> None:
    settings = {"pitch": 12.0 * sign, "range": 2.0}
    spoken = speak(
        engine, "Good evening. 今晩は。", lang, pitch=12.0 * sign, ja_pitch=12.0 * sign,
        intonation=2.0, timbre=6.0 * sign, settings=settings,
    )  # fmt: skip
    assert np.isfinite(joined(spoken)).all()
    assert seconds(spoken) > 0.3


def test_a_line_cannot_say_more_than_there_is(engine: EmbeddedEngine) -> None:
    with pytest.raises(EngineError, match="pitch may not be 99"):
        speak(engine, "Hello.", "en", settings={"pitch": 99.0})
    assert set(EmbeddedEngine.capabilities.line_fields) == {"speed", "pitch", "range"}


@pytest.mark.parametrize("lang", SENTENCE)
def test_pitch_rises_by_semitones_and_nothing_else(engine: EmbeddedEngine, lang: str) -> None:
    plain, high = (speak(engine, SENTENCE[lang], lang, pitch=p) for p in (0.0, 4.0))
    assert pitch_hz(high) / pitch_hz(plain) == pytest.approx(2 ** (4 / 12), rel=0.06)
    assert seconds(high) == pytest.approx(seconds(plain), rel=0.05)


@pytest.mark.parametrize("lang", SENTENCE)
def test_timbre_moves_the_spectrum_only(engine: EmbeddedEngine, lang: str) -> None:
    plain, small = (speak(engine, SENTENCE[lang], lang, timbre=t) for t in (0.0, 4.0))
    assert pitch_hz(small) / pitch_hz(plain) == pytest.approx(1.0, rel=0.06)
    assert seconds(small) == pytest.approx(seconds(plain), rel=0.1)
    assert centroid_hz(small) > 1.05 * centroid_hz(plain)


def test_brightness_tilts_the_spectrum(engine: EmbeddedEngine) -> None:
    dark, bright = (speak(engine, SENTENCE["en"], "en", brightness=b) for b in (-1.0, 1.0))
    assert centroid_hz(bright) > 1.3 * centroid_hz(dark)


@pytest.mark.parametrize(
    ("lang", "text", "given"),
    [
        ("en", 'Well, "1999" it\'s, (maybe) five.', {}),
        ("en", "Well, two. Three, four.", {"voice": "kal16"}),
        ("en", "Well, two. Three, four.", {"voice": "rms", "timbre": -2.0}),
        ("ja", "はい、明日は、晴れる。", {}),
        ("ja", "ﾃｽﾄ、ABC、はい。", {"timbre": 3.0}),
    ],
)
def test_words_begin_where_the_sound_does(
    engine: EmbeddedEngine, lang: str, text: str, given: dict[str, Any]
) -> None:
    spoken = speak(engine, text, lang, **given)
    found, pcm, rate = words(spoken), joined(spoken), spoken[0].rate_hz
    assert [w.at_s for w in found] == sorted(w.at_s for w in found)
    assert found[0].at_s < 0.05
    assert found[-1].at_s < seconds(spoken)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    checked = 0
    for before, word in itertools.pairwise(found):
        if not any(mark in text[before.end : word.start] for mark in ",.、"):
            continue
        at = round(word.at_s * rate)
        pause = np.abs(pcm[at - rate // 20 : at - rate // 50]).max()
        sound = np.abs(pcm[at : at + rate // 6]).max()
        assert pause < 0.15 * sound, text[word.start : word.end]
        checked += 1
    assert checked >= 2


def test_words_are_the_tokens_of_the_text(engine: EmbeddedEngine) -> None:
    text = 'Hey! "I" paid $5.20… café 100% (ok)'
    named = [text[w.start : w.end] for w in words(speak(engine, text, "en"))]
    assert named == ["Hey", "I", "paid", "$5.20", "café", "100%", "ok"]
    text = "今日は雨です"
    named = [text[w.start : w.end] for w in words(speak(engine, text, "ja"))]
    assert named == ["今日", "は", "雨", "です"]


def test_a_word_is_in_the_chunk_where_it_begins(engine: EmbeddedEngine) -> None:
    for lang in ("en", "ja"):
        at = 0
        for chunk in speak(engine, SENTENCE[lang], lang):
            begun = [round(word.at_s * chunk.rate_hz) for word in chunk.words]
            assert all(at <= sample < at + len(chunk.pcm) for sample in begun)
            at += len(chunk.pcm)


@pytest.mark.parametrize("size", [1, 7, 160, 333, 4800])
def test_shaping_is_the_same_however_the_sound_is_cut(size: int) -> None:
    rng = np.random.default_rng(5)
    raw = np.concatenate(
        [np.zeros(900), rng.standard_normal(3000) * 0.1, np.zeros(1100),
         rng.standard_normal(2000) * 0.1, np.zeros(2000)]
    ).astype(np.float32)  # fmt: skip
    shape = Shape(rate_hz=16000, gain=0.5, brightness=0.7, threshold=0.01)
    marks = (Mark(0, 1, 900), Mark(2, 3, 5000))

    def shaped(size: int) -> list[Chunk]:
        pieces = [Piece(raw[at : at + size]) for at in range(0, len(raw), size)]
        return list(chunks(iter([Piece(pieces[0].pcm, marks), *pieces[1:]]), shape))

    whole, cut = shaped(len(raw)), shaped(size)
    assert np.allclose(joined(cut), joined(whole), atol=1e-7)
    assert words(cut) == words(whole)
    assert len(joined(whole)) == pytest.approx(240 + 3000 + 1100 + 2000 + 320, abs=20)


def test_frames_of_the_japanese_voice_are_those_of_the_library() -> None:
    import pyopenjtalk
    from pyopenjtalk import htsengine

    hts = Hts(str(htsengine.__file__), pyopenjtalk.DEFAULT_HTS_VOICE)
    features = pyopenjtalk.run_frontend(
        SENTENCE["ja"], use_sudachi_kanji_yomi=False, predict_nani=False
    )
    labels = pyopenjtalk.make_label(features)
    whole = pyopenjtalk.HTSEngine(pyopenjtalk.DEFAULT_HTS_VOICE).synthesize(labels)
    with hts.utterance(labels, 1.0) as utterance:
        for step in (1, 4, 50):
            streamed = np.concatenate(list(utterance.sound(0, utterance.total, step)))
            assert np.array_equal(streamed, whole)
    hts.close()


def test_frames_of_the_english_voice_are_those_of_the_library() -> None:
    library = flite.Flite()
    streamed = np.concatenate([p.pcm for p in library.speak("Hello there.", "slt", Manner())])
    c, handle = library._library, library._voices["slt"]
    c.flite_feat_remove.argtypes = c.flite_feat_set.argtypes[:2]
    c.flite_feat_remove(handle[0].features, b"streaming_info")
    c.flite_text_to_wave.restype = flite._Callback._argtypes_[0]
    c.flite_text_to_wave.argtypes = c.flite_synth_text.argtypes
    c.srand(0)
    wave = c.flite_text_to_wave(b"Hello there.", handle)
    whole = np.ctypeslib.as_array(wave[0].samples, (wave[0].num_samples,)) / np.float32(32768)
    assert alike(streamed, whole) > 0.97
    assert 0 <= len(whole) - len(streamed) <= 400


@pytest.mark.parametrize(
    ("lang", "speaker"), [("en", "slt"), ("en", "kal16"), ("ja", "slt"), ("de", "slt")]
)
def test_hostile_text_harms_nothing(engine: EmbeddedEngine, lang: str, speaker: str) -> None:
    prepared = voice(voice=speaker)
    for text in HOSTILE:
        # four seconds of each are enough: forty-one digits are half a minute of Japanese
        for chunk in itertools.islice(engine.stream(prepared, job(text, lang)), 40):
            assert np.isfinite(chunk.pcm).all()
            assert np.abs(chunk.pcm).max() <= 1.0
            assert all(0 <= w.start < w.end <= len(text) for w in chunk.words)
    for text in HOSTILE[:7]:
        assert not list(engine.stream(prepared, job(text, lang)))


def test_no_token_of_any_length_reaches_the_library() -> None:
    script = write("x" * 500 + " ok", as_ascii)
    assert max(map(len, script.text.split())) == 40
    assert script.span(script.text.index("ok"), script.text.index("ok") + 2) == (501, 503)
    assert "".join(part.text for part in script.parts(100)) == script.text


def test_closing_ends_the_thread_and_the_process(engine: EmbeddedEngine) -> None:
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    others = set(children.read_text().split())
    for lang in ("en", "de"):
        stream = engine.stream(voice(), job("Guten Abend und guten Morgen. " * 12, lang))
        next(stream)
        if lang == "de":
            assert set(children.read_text().split()) - others
        stream.close()
    deadline = time.monotonic() + 40
    while any(thread.name == "flite" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert set(children.read_text().split()) <= others


@pytest.mark.parametrize("text", ["aaaaa", "あ" * 40, "ア" * 40, "う" * 40, "ん" * 40])
def test_a_vowel_held_for_ever_does_not_blow_up_the_filter(text: str) -> None:
    # Without care these reach 10 ** 30 times full scale; restarts alone leave over 0.7 % of noise.
    pcm = np.concatenate([piece.pcm for piece in openjtalk.OpenJTalk().speak(text, Manner())])
    assert np.abs(pcm).max() < 4.0
    assert np.mean(np.abs(pcm) >= 1.0) < 0.006


def test_a_closed_stream_stops_the_synthesis() -> None:
    closed = threading.Event()

    class Counting(flite.Flite):
        frames = 0

        def _on_sound(self, *arguments: Any) -> int:
            self.frames += 1
            if self.frames == 100:  # it runs far ahead of a listener that the machine holds up
                assert closed.wait(40)
            return super()._on_sound(*arguments)

    library = Counting()
    pieces = library.speak("Hello there and good morning. " * 13, "slt", Manner())
    next(pieces)
    pieces.close()
    closed.set()
    for thread in threading.enumerate():
        if thread.name == "flite":
            thread.join(40)
    assert library.frames < 200
    library.frames = 0
    list(library.speak("Hello there and good morning. " * 13, "slt", Manner()))
    assert library.frames > 600


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """How alike two sounds rise and fall, 1 = the same. flite's noise comes from the C library's
    ``rand``, which ZeroMQ's threads in this process may call as well: samples may differ."""
    frames = min(len(one), len(other)) // 480

    def level(pcm: np.ndarray) -> np.ndarray:
        return np.sqrt((pcm[: frames * 480].reshape(frames, 480) ** 2).mean(axis=1))

    return float(np.corrcoef(level(one), level(other))[0, 1])


def test_two_streams_at_once_do_not_mix(engine: EmbeddedEngine) -> None:
    prepared = voice()
    texts = ("Good morning everyone.", "See you tomorrow.")
    alone = [joined(list(engine.stream(prepared, job(text, "en")))) for text in texts]
    first, second = (engine.stream(prepared, job(text, "en")) for text in texts)
    started = [[next(first)], [next(second)]]
    together = [
        joined(head + list(rest)) for head, rest in zip(started, (first, second), strict=True)
    ]
    for text, (a, b) in enumerate(zip(alone, together, strict=True)):
        assert alike(a, b) > 0.97
        assert alike(a, together[1 - text]) < 0.8


def test_bad_settings_and_languages_are_refused(engine: EmbeddedEngine) -> None:
    with pytest.raises(EngineError) as error:
        engine.prepare(ProfileSpec("x", "en", {"voise": "slt", "pitch": 99, "voice": "rns"}))
    assert error.value.code == "bad_setting"
    for part in ("did you mean 'voice'", "from -12 to 12", "did you mean 'rms'"):
        assert part in error.value.message
    with pytest.raises(EngineError) as error:
        engine.prepare(ProfileSpec("x", "en", {"variant": "f2 -w"}))
    assert error.value.code == "bad_setting"
    with pytest.raises(EngineError) as error:
        engine.prepare(ProfileSpec("x", "xx", {}))
    assert error.value.code == "unknown_language"
    with pytest.raises(EngineError) as error:
        engine.prepare(ProfileSpec("x", "en", {}, {"audio": b"x"}))
    assert error.value.code == "bad_reference"


def test_a_missing_library_is_replaced_or_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(name: str) -> Any:
        raise EngineError("library_missing", "flite cannot be loaded: gone", flite.HINT)

    monkeypatch.setattr(flite, "_open", missing)
    engine = EmbeddedEngine()
    spoken = list(engine.stream(voice(), job("Hello.", "en")))
    assert spoken[0].rate_hz == espeak.RATE_HZ
    list(engine.stream(voice(), job("Hello.", "en")))
    assert len(caplog.records) == 1
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EngineError) as error:
        EmbeddedEngine().warm_up()
    assert error.value.code == "library_missing"
    assert "espeak-ng" in error.value.hint


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_shipped_profiles_speak_at_one_level(engine: EmbeddedEngine, path: Path) -> None:
    profile = load_profile(path)
    assert profile.rights
    assert profile.tags
    prepared = engine.prepare(ProfileSpec(profile.name, profile.lang, profile.settings))
    engine.load(prepared)
    assert prepared.loudness_lufs == pytest.approx(NOMINAL_LUFS, abs=3.0)
    for lang, text in SENTENCE.items():
        spoken = list(engine.stream(prepared, job(text, lang)))
        loudness = integrated_lufs(joined(spoken), spoken[0].rate_hz)
        assert loudness == pytest.approx(prepared.loudness_lufs, abs=4.0), lang


def test_english_needs_no_japanese_and_japanese_no_sudachi_dictionary() -> None:
    program = (
        "import sys\n"
        "from koed.engine.base import Job, ProfileSpec\n"
        "from koed.engine.registry import create\n"
        "engine = create('embedded'); engine.warm_up()\n"
        "voice = engine.prepare(ProfileSpec('x', 'en', {})); engine.load(voice)\n"
        "assert not {'pyopenjtalk', 'torch', 'scipy'} & set(sys.modules)\n"
        "assert list(engine.stream(voice, Job(1, 1, '', '風が強い方へ行った。', 'ja')))\n"
        "assert 'sudachidict' not in open('/proc/self/maps').read()\n"
        "assert 'scipy' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert "ONNX" not in done.stdout
