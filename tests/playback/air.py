"""The player, its shell and real mixers on a counted clock, under random operations.

Only engines and voices are imitated: an engine speaks so many seconds a letter and tells its words;
chunks come in any size, torn or slow, jobs fail, engines die. After every step the invariants of
the playback core are looked at; `Broken` says which one does not hold.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from koe import protocol
from koe.protocol import Event
from koed.audio.arrangement import Report
from koed.audio.mixer import Mixer
from koed.config.daemon import Config, QueueConfig, TextConfig
from koed.config.delivery import PLAIN, Delivery
from koed.engine.base import Capabilities, Job, Mouth, Word
from koed.engine.jobs import Jobs
from koed.errors import KoedError
from koed.events import Bus
from koed.playback import effects
from koed.playback.dispatch import Dispatch, Outlet
from koed.playback.effects import Effect
from koed.playback.inputs import Amend, Moment, Submit, Withdraw
from koed.playback.lineup import Lineup, serials
from koed.playback.player import Player
from koed.playback.queue import Line
from koed.playback.takes import Piece, Take
from koed.playback.utterance import Part
from koed.text.segment import segments

RATE = 1000
BLOCK = 10
LETTER_S = 0.012
LOOKAHEAD_S = 0.6
FIRST_CHUNK_S = 0.1
"""An engine that is not disturbed has its first chunk after so long."""
PATIENCE_S = 2.0
"""Sound comes within so long after that."""

TEXTS = (
    "Hello there my friend, how are you today? I am fine.",
    "Yes.",
    "One two three four five six seven eight, nine ten eleven.",
    "A. B. C. D.",
    "No way, that is quite a long clause without much of an end to it, is it not, old friend?",
    "Canned words are heard at once, and here is more of them.",
)
CANNED = TEXTS[-1]
OWN = (PLAIN,) * 6 + (Delivery(pitch=5.0), Delivery(speed=0.8, volume=-3.0))
"""What a line says of itself."""
LIVING: tuple[dict[str, Any], ...] = (
    {}, {}, {"pitch": 3.0}, {"speed": 1.5, "volume": -6.0}, {"plain": True}, {"range": 0.5},
)  # fmt: skip
"""What is said of the living voice."""
OVER = ("utterance.finished", "utterance.skipped", "utterance.dropped", "utterance.failed")


class Broken(AssertionError):
    """An invariant does not hold."""


def require(holds: object, invariant: str, *details: object) -> None:
    if not holds:
        raise Broken(f"{invariant}: " + " ".join(map(str, details)))


# --- what is imitated -------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Work:
    """A job in an engine. ``at``: letters spoken."""

    job: Job
    at_s: float
    since: float

    @property
    def left_s(self) -> float:
        return len(self.job.text) * LETTER_S - self.at_s


class ImitatedHost:
    """As an `EngineHost` and its worker: what is not kept is not told of any more, the jobs of a
    lane are made one after the other, and no further than there is credit."""

    def __init__(self, world: Air, restyle: bool, word_times: bool) -> None:
        self._world = world
        self.state: Any = "up"
        self.capabilities = Capabilities(
            ("*",), restyle=restyle, word_times=word_times,
            line_fields=("speed", "pitch") if restyle else ("speed",),
        )  # fmt: skip
        self.works: dict[int, Work] = {}
        self.spoken: dict[int, Job] = {}
        """Every job there ever was."""
        self.wanted: set[int] = set()
        self._sent_s: dict[int, float] = defaultdict(float)
        self._granted_s: dict[int, float] = defaultdict(float)

    def next_jobs(self) -> list[int]:
        """The first job of each lane that has credit."""
        first: dict[int, int] = {}
        for serial, work in self.works.items():
            first.setdefault(work.job.lane, serial)
        return [s for lane, s in first.items() if self._sent_s[lane] < self._granted_s[lane]]

    def send(self, lane: int, seconds: float) -> None:
        self._sent_s[lane] += seconds

    @property
    def doing(self) -> str:
        return "speaking" if self.works else "idle"

    @property
    def jobs(self) -> frozenset[int]:
        return frozenset(self.works)

    def speak(self, job: Job) -> None:
        require(job.serial not in self.spoken, "6: a serial is spoken twice", job)
        require(self.state == "up", "a job for an engine that is away", job)
        self.spoken[job.serial] = job
        self.works[job.serial] = Work(job, job.start_s, self._world.now)
        self.wanted.add(job.serial)

    def keep(self, serials: Collection[int]) -> None:
        self.wanted = set(serials)
        require(self.wanted <= self.spoken.keys(), "6: kept, never spoken", self.wanted)
        self.works = {s: w for s, w in self.works.items() if s in self.wanted}

    def grant(self, lane: int, ahead_s: float) -> None:
        total_s = self._sent_s[lane] + max(0.0, LOOKAHEAD_S - ahead_s)
        self._granted_s[lane] = max(self._granted_s[lane], total_s)


@dataclass(frozen=True)
class ImitatedProfile:
    lang: str = "en"
    fallback: str | None = None
    speed: float = 1.0
    loudness_lufs: float | None = None
    delivery: Delivery = PLAIN


@dataclass(frozen=True)
class ImitatedVoice:
    profile: ImitatedProfile
    engine: str
    key: str
    loudness_lufs: float = -18.0


class ImitatedBook:
    """Voices: low and high on an engine that restyles, other on one that does not, bare on one
    without word times, none that is not ready."""

    version = 0

    def __init__(self) -> None:
        self.voices: dict[str, ImitatedVoice | None] = {
            "low": ImitatedVoice(ImitatedProfile(fallback="other"), "a", "k1"),
            "high": ImitatedVoice(ImitatedProfile(), "a", "k2"),
            "other": ImitatedVoice(ImitatedProfile(), "b", "k3"),
            "none": None,
        }
        self._profile = ImitatedProfile()

    def all_names(self) -> list[str]:
        return list(self.voices)

    def profile(self, name: str) -> ImitatedProfile:
        voice = self.voices[name]
        return voice.profile if voice else self._profile

    def ready(self, name: str) -> ImitatedVoice | None:
        return self.voices[name]

    def error(self, name: str) -> None:
        return None


def sound(seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.full(round(seconds * RATE), 0.2, dtype=np.float32)


def words_of(text: str, first_s: float = 0.0, end_s: float = float("inf")) -> Iterator[Word]:
    """The words of a text that begin from ``first_s`` to ``end_s`` of its sound."""
    at = 0
    for piece in text.split():
        at = text.index(piece, at)
        if first_s <= at * LETTER_S + 1e-9 < end_s:
            yield Word(at, at + len(piece), at * LETTER_S)
        at += len(piece)


def take(text: str, voice: Any) -> Take | None:
    if text != CANNED or voice.name == "other":
        return None
    pieces = tuple(
        Piece(
            s.text, s.lang, RATE, sound(len(s.text) * LETTER_S), tuple(words_of(s.text)), ()
        )
        for s in segments(text, TextConfig(), "en")
    )  # fmt: skip
    return Take(text, voice.key, pieces)


class Shelf:
    """Another owner of jobs, as the phrases are: one job at a time, and none of the player's
    business."""

    LANE = 99

    def __init__(self, world: Air) -> None:
        self._world = world
        self._serials = serials("phrase")
        self.current: tuple[int, str] | None = None
        """(serial, engine)"""

    def begin(self, engine: str) -> None:
        self.cancel()
        serial = next(self._serials)
        job = Job(serial, self.LANE, "k1", "Yes.", "en", owner="phrase")
        self._world.jobs.speak(self, engine, job, 0.0)
        self._world.jobs.keep(self, engine, (serial,))
        self.current = serial, engine

    def cancel(self) -> None:
        if self.current is not None:
            self._world.jobs.keep(self, self.current[1], ())
            self.current = None

    def _mine(self, serial: int) -> None:
        require(self.current and self.current[0] == serial, "6: a job of another owner", serial)

    def chunk(self, serial: int, pcm: Any, rate_hz: int, words: Any, mouths: Any) -> None:
        self._mine(serial)
        self._world.hosts[self.current[1] if self.current else "a"].grant(self.LANE, 0.0)

    def done(self, serial: int) -> None:
        self._mine(serial)
        self.cancel()

    def failed(self, serial: int, code: str, message: str) -> None:
        self.done(serial)

    def mended(self, serial: int, code: str) -> None:
        self._mine(serial)

    def lost(self, serials: Collection[int], code: str) -> None:
        require(self.current and self.current[0] in serials, "6: not lost", serials)
        self.cancel()

    def look(self) -> None:
        """Its job is alive for as long as it wants it."""
        if self.current is not None:
            serial, engine = self.current
            require(serial in self._world.hosts[engine].works, "6: the other owner's job", serial)


# --- what is watched --------------------------------------------------------------------------


class Manner:
    """How each line is to be spoken, by what was asked for: nothing of it is the player's."""

    def __init__(self, outputs: list[str], voice: str) -> None:
        self._current = dict.fromkeys(outputs, voice)
        self._living = dict.fromkeys(outputs, PLAIN)
        self._lines: dict[int, Delivery] = {}

    def queue(self, line: Line) -> None:
        mine = line.voice == self._current[line.output]
        self._lines[line.utterance] = self._living[line.output] if mine else PLAIN

    def of(self, line: Line) -> Delivery:
        return line.delivery.over(self._lines[line.utterance])

    def change(self, asked: protocol.Voice, lineup: Lineup) -> None:
        """``lineup`` tells which lines wait, which sound, and in which voice."""
        fields = Delivery.read_from(asked)
        for output in self._current if asked.output is None else [asked.output]:
            if asked.name not in (None, self._current[output]) or asked.plain:
                self._living[output] = PLAIN
            self._living[output] = fields.over(self._living[output])
            self._current[output] = asked.name or self._current[output]
            if asked.when != "next":
                for line in lineup.queue.waiting(output):
                    self.queue(line)
            for utterance in lineup.channels[output].utterances():
                mine = asked.name is not None or utterance.voice == self._current[output]
                if asked.when == "now" and utterance.begun and mine:
                    self._lines[utterance.number] = self._living[output]


class WatchedPlayer(Player):
    """Looks at every step; a twin must do the same."""

    def __init__(self, world: Air, twin: Player | None, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._world = world
        self._twin = twin

    def step(self, moment: Moment, item: Any) -> list[Effect]:
        done = super().step(moment, item)
        self._world.look(item, done)
        if self._twin is not None:
            again = self._twin.step(moment, item)
            require(_plain(again) == _plain(done), "7: the same inputs, other effects", item)
        return done


def _plain(done: list[Effect]) -> list[str]:
    return [repr(effect) for effect in done if not isinstance(effect, effects.Play)]


@dataclass(slots=True)
class Hearing:
    """What was heard of an utterance: the number of words, in order."""

    next_word: int = 0
    torn: bool = False
    """The last word was cut before its end."""
    left_out: set[int] = field(default_factory=set)
    """First characters of the words of a piece that the engine could not say."""


@dataclass(slots=True)
class Playing:
    """A track from its first sample on."""

    utterance: int
    part: Part
    from_s: float


class Air:
    """See the module's docstring."""

    def __init__(
        self, seed: int, *, outputs: int = 1, urgent: str = "", twin: bool = False
    ) -> None:
        self.random = r = random.Random(seed)
        self.fields = random.Random(f"fields {seed}")
        """Apart from the other dice, so that a seed is otherwise what it was without them."""
        self.now = 0.0
        queue = QueueConfig(
            urgent=urgent or r.choice(["interrupt", "duck", "overlap"]),  # type: ignore[arg-type]
            chatter_ttl_s=r.choice([0.5, 5, 60]), max_lines=8, max_chatter=4, max_per_author=3,
            line_pause_s=0.05, open_idle_s=2.0,
        )  # fmt: skip
        self.config = replace(Config(), queue=queue, voice="low")
        self.bus = Bus(lambda: self.now)
        self.bus.listen(self._note)
        self.hosts = {
            "a": ImitatedHost(self, restyle=True, word_times=True),
            "b": ImitatedHost(self, restyle=False, word_times=True),
        }
        self.mixers = {
            name: Mixer(RATE, fade_ms=8, true_peak_db=-1, history_s=0)
            for name in ["main", "side"][:outputs]
        }
        self._outlets = {name: Outlet(m, lambda f: f / RATE) for name, m in self.mixers.items()}
        lanes = {name: 1 + 2 * n for n, name in enumerate(self.mixers)}
        self.manner = Manner(list(lanes), self.config.voice)
        self._twin = Player(self.config, lanes, take) if twin else None
        self.player = WatchedPlayer(self, self._twin, self.config, lanes, take)
        self.lineup: Lineup = self.player.lineup
        self.jobs = Jobs(self.hosts)
        self.shelf = Shelf(self)
        self.book = ImitatedBook()
        self.dispatch = Dispatch(
            self.player, self._outlets, self.jobs, self.book, self.bus, lambda: self.now
        )
        self.events: list[Event] = []
        self.ended: dict[int, str] = {}
        self.queued: dict[int, Line] = {}
        self.begun: set[int] = set()
        self._named: dict[int, dict[int, bool]] = defaultdict(dict)
        """Serials by lane, and whether the newest list names them."""
        self._spoken: set[int] = set()
        self._parts: dict[int, tuple[int, Part]] = {}
        self._playing: dict[int, Playing] = {}
        self._hearing: dict[int, Hearing] = {}
        self._texts: dict[int, str] = {}
        self._blocks_since: dict[int, int] = defaultdict(int)
        self._utterance = 0
        self.log: list[Any] = []
        self._open: list[int] = []
        for name, mixer in self.mixers.items():
            self._watch_reports(name, mixer)

    # --- watching -----------------------------------------------------------------------------

    def _note(self, event: Event) -> None:
        self.events.append(event)
        kind, number = event.event, getattr(event, "utterance", 0)
        if kind == "trouble":
            raise Broken(f"trouble: {event}")
        if not kind.startswith("utterance."):
            return
        require(number not in self.ended, "1: news of a line that is over", event)
        if kind in OVER:
            self.ended[number] = kind
        elif kind == "utterance.started":
            require(number not in self.begun, "1: begun twice", event)
            self.begun.add(number)

    def look(self, item: Any, done: list[Effect]) -> None:
        """After a step: what it wants done, and the state it leaves."""
        self.log.append((round(self.now, 3), item))
        if isinstance(item, protocol.Voice):
            self.manner.change(item, self.lineup)
        for effect in done:
            if isinstance(effect, effects.Arrange):
                named = self._named[effect.lane]
                serials = [entry.serial for entry in effect.entries]
                require(len(set(serials)) == len(serials), "2: named twice", serials)
                for serial in serials:
                    require(named.get(serial, True), "8: named again", serial, item)
                named.update(dict.fromkeys(named, False))
                named.update(dict.fromkeys(serials, True))
                self._blocks_since[effect.lane] = 0
            elif isinstance(effect, effects.Speak | effects.Play):
                serial = effect.job.serial if isinstance(effect, effects.Speak) else effect.serial
                require(serial not in self._spoken, "6: owned twice", serial)
                self._spoken.add(serial)
                require(self.lineup.part_of(serial), "6: spoken for nobody", serial)
                self._look_at_manner(effect, *self.lineup.part_of(serial))  # type: ignore[misc]
        if len(done) > 1:  # something besides the answer
            for channel in self.lineup.channels.values():
                for lane in channel.lanes:
                    self._look_at_lane(lane, item)

    def _look_at_manner(self, effect: Any, utterance: Any, part: Part) -> None:
        """Invariant 9: a line, its voice and what was last said of that, in this order."""
        wanted = self.manner.of(utterance.line)
        gain_db = part.voice.gain_db + (wanted.volume or 0.0)
        require(part.entry().gain_db == gain_db, "9: another volume", wanted, part)
        obeyed = self.hosts[part.voice.engine].capabilities.line_fields
        pitch = wanted.pitch if "pitch" in obeyed else None
        if isinstance(effect, effects.Play):
            require(not pitch and not wanted.speed, "9: rendered ahead otherwise", wanted)
            return
        told = effect.job.settings.get("pitch"), effect.job.speed
        require(told == (pitch, wanted.speed or 1.0), "9: spoken otherwise", wanted, effect)

    def _look_at_lane(self, lane: Any, item: Any) -> None:
        expected = [part.serial for line in lane.utterances for part in line.parts]
        told = [entry.serial for entry in lane.told]
        resting = [lane.resting.serial] if lane.resting else []
        require(told == resting + expected, "2: the list", told, resting, expected, item)
        require(len(lane.utterances) <= 2, "2: three lines on a lane", lane)
        begun = [line.number for line in lane.utterances if line.begun]
        require(len(begun) <= 1, "5: one line begins within another", begun)
        for line in lane.utterances:
            require(self.lineup.find(line.number) is line, "2: on a lane and over", line)
            self._texts[line.number] = line.text
            for part in line.parts:
                self._parts[part.serial] = (line.number, part)
                found = self.lineup.part_of(part.serial)
                require(found and found[1] is part, "6: a part of nobody", part)
            if not line.begun:
                name = line.line.output
                following = self.lineup.queue.peek(name, lane.among)
                require(following == line.line, "5: prepared, and another is next", following)

    def _look_at_promises(self) -> None:
        for line in self.lineup.on_stage():
            for part in line.parts:
                if part.generating:
                    host = self.hosts[part.voice.engine]
                    require(
                        host.state != "up" or part.serial in host.works,
                        "2: promised by nobody", part,
                    )  # fmt: skip

    def _watch_reports(self, name: str, mixer: Mixer) -> None:
        read = mixer.reports

        def reports() -> list[Report]:
            told = read()
            for report in told:
                self._hear(report)
            return told

        mixer.reports = reports  # type: ignore[method-assign]
        mixer.levels = mixer.fine_levels = list  # type: ignore[method-assign, assignment]

    def _hear(self, report: Report) -> None:
        """Invariant 4, by what the device says of each track and not by what the player makes of
        it."""
        if report.serial not in self._parts:
            return
        number, part = self._parts[report.serial]
        if report.kind == "started":
            self._playing[report.serial] = Playing(number, part, report.played_s)
        elif report.kind in ("ended", "cut") and report.serial in self._playing:
            playing = self._playing.pop(report.serial)
            self._heard(playing, report.played_s, report.kind == "cut")

    def _heard(self, playing: Playing, to_s: float, cut: bool) -> None:
        part, start_s = playing.part, playing.part.planned.start_s
        text = self._text(playing.utterance)
        hearing = self._hearing.setdefault(playing.utterance, Hearing())
        starts = [word.start for word in words_of(text)]
        segment = part.segment
        from_s, to_s = playing.from_s + start_s, to_s + start_s
        for word in words_of(segment.text, from_s, to_s - 1e-6):
            at = segment.start + word.start
            if at not in starts:  # the rest of a word that was cut in two by its language
                continue
            index = starts.index(at)
            while hearing.next_word < index and starts[hearing.next_word] in hearing.left_out:
                hearing.next_word += 1
            again = hearing.torn and index == hearing.next_word - 1
            require(
                index == hearing.next_word or again,
                "4: not the next word", text, index, hearing, part, from_s, to_s,
            )  # fmt: skip
            hearing.next_word = index + 1
            end_s = (word.end + 1) * LETTER_S
            # nobody can tell whether the last word of an engine that broke had come whole
            last = not part.complete and word.start == part.words[-1].start
            hearing.torn = last or (cut and to_s < end_s)

    def _text(self, number: int) -> str:
        return self._texts.get(number) or self.queued[number].text

    # --- the world's turns --------------------------------------------------------------------

    def render(self, frames: int) -> None:
        for mixer in self.mixers.values():
            mixer.render(frames)
            require(not mixer.faults, "a fault of the mixer", mixer.fault)
        self.now += frames / RATE
        for mixer in self.mixers.values():
            for lane in mixer._playing:
                self._blocks_since[lane.number] += 1
                if self._blocks_since[lane.number] >= 2:
                    named = {s for s, now in self._named[lane.number].items() if now}
                    there = set(lane._tracks)
                    require(there <= named, "2: a track that no list names", there - named)

    def chunk(self, host: ImitatedHost, serial: int, seconds: float) -> None:
        """An engine sends the next piece of a job, and says when that was all."""
        work = host.works[serial]
        begin_s = work.at_s
        work.at_s = min(begin_s + seconds, max(begin_s, len(work.job.text) * LETTER_S))
        count = round((work.at_s - begin_s) * RATE)
        pcm = np.full(count, 0.2, dtype=np.float32)
        words = tuple(words_of(work.job.text, begin_s, work.at_s - 1e-9))
        owner = self.jobs.owner_of(serial)
        require(owner, "6: a job of nobody", serial)
        if owner is None:
            return
        if count:
            host.send(work.job.lane, count / RATE)
            owner.chunk(serial, pcm, RATE, words, (Mouth("a", begin_s),))
        if serial in host.works and work.left_s <= 1e-9:
            del host.works[serial]
            owner.done(serial)

    def fail(self, host: ImitatedHost, serial: int, code: str) -> None:
        del host.works[serial]
        owner = self.jobs.owner_of(serial)
        require(owner, "6: a job of nobody", serial)
        found = self.lineup.part_of(serial)
        if owner is not None:
            owner.failed(serial, code, "told to")
        if found is None:
            return
        utterance, part = found
        if part.complete and code == "nothing_to_speak":
            heard = self._hearing.setdefault(utterance.number, Hearing())
            start = part.segment.start
            heard.left_out |= {start + w.start for w in words_of(part.segment.text)}

    def lose(self, host: ImitatedHost) -> None:
        lost = list(host.works)
        host.works.clear()
        host.state = "down"
        self.jobs.lost(lost, "worker_killed")
        self.dispatch.advance()

    def ask(self, item: Any) -> Any:
        if self.random.random() < 0.3:  # the device is always a little further than we know
            self.render(BLOCK)
        try:
            return self.dispatch.ask(item)
        except KoedError as error:
            return error

    def say(self, text: str, in_pieces: bool = False, **rest: Any) -> int:
        self._utterance += 1
        ttl_s = rest.pop("ttl_s", None)
        voice = rest.pop("voice", None)
        output = rest.pop("output", None) or next(iter(self.mixers))
        name = voice or self.lineup.current_voice(output)
        line = Line(
            self._utterance, text, name, output,
            queued_at=self.now, expires_at=None if ttl_s is None else self.now + ttl_s,
            explicit_voice=voice is not None, living=self.lineup.living(name, output),
            delivery=self.fields.choice(OWN), **rest,
        )  # fmt: skip
        self.queued[line.utterance] = line
        self.manner.queue(line)
        self.ask(Submit(line, in_pieces))
        return line.utterance

    # --- the random operations ----------------------------------------------------------------

    def operate(self) -> None:
        r = self.random
        dice = r.random()
        if dice < 0.50:
            self._command(dice / 0.50)
        elif dice < 0.70:
            self._engine_works()
        elif dice < 0.74:
            self._engine_fails()
        elif dice < 0.76:
            host = r.choice(list(self.hosts.values()))
            if host.state == "up":
                self.lose(host)
        elif dice < 0.80:
            for host in self.hosts.values():
                host.state = "up"
            self.dispatch.advance()
        else:
            self.render(r.choice([BLOCK, 2 * BLOCK, 5 * BLOCK]))
            if r.random() < 0.8:
                self.dispatch.advance()
        if r.random() < 0.05:
            engines = [name for name, host in self.hosts.items() if host.state == "up"]
            if engines and r.random() < 0.7:
                self.shelf.begin(r.choice(engines))
            else:
                self.shelf.cancel()
        self.shelf.look()
        self._look_at_promises()

    def _engine_works(self) -> None:
        host = self.random.choice(list(self.hosts.values()))
        jobs = host.next_jobs()
        if jobs and host.state == "up":
            serial = self.random.choice(jobs)
            self.chunk(host, serial, self.random.choice([0.01, 0.1, 0.3, 1.0]))

    def _engine_fails(self) -> None:
        host = self.random.choice(list(self.hosts.values()))
        if host.works and host.state == "up":
            serial = self.random.choice(list(host.works)[:3])
            restyle = "restyle_lost" if host.works[serial].job.restyle_of else "oom"
            codes = ["engine_bug", "oom", "speech_leak", "nothing_to_speak", restyle]
            self.fail(host, serial, self.random.choice(codes))

    def _command(self, dice: float) -> None:
        r = self.random
        commands = (
            (0.32, self._say),
            (0.38, self._say_open),
            (0.50, self._append),
            (0.56, self._close),
            (0.70, self._switch),
            (0.74, lambda: self.ask(protocol.Stop())),
            (0.79, lambda: self.ask(protocol.Skip())),
            (
                0.83,
                lambda: self.ask(
                    r.choice([protocol.Pause(), protocol.Resume(), protocol.Resume()])
                ),
            ),
            (0.87, lambda: self.ask(r.choice([protocol.Mute(), protocol.Unmute()]))),
            (
                0.89,
                lambda: self.ask(
                    protocol.Mode(mode=r.choice(["speak", "speak", "chat_muted", "all_muted"]))
                ),
            ),
            (0.92, lambda: self.ask(protocol.Cancel(author=r.choice("xy")))),
            (0.94, self._withdraw),
            (0.98, self._amend),
            (1.01, lambda: self.ask(protocol.Clear())),
        )
        next(command for limit, command in commands if dice < limit)()

    def _say(self) -> None:
        r = self.random
        self.say(
            r.choice(TEXTS), voice=r.choice([None, None, "low", "high", "other"]),
            priority=r.choice(["urgent", "normal", "normal", "chatter"]),
            key=r.choice([None, None, "k"]), author=r.choice([None, "x", "y"]),
            ttl_s=r.choice([None, None, 0.2, 1.0]), output=r.choice(list(self.mixers)),
        )  # fmt: skip

    def _say_open(self) -> None:
        priority = self.random.choice(["normal", "urgent"])
        self._open.append(self.say("", in_pieces=True, priority=priority))

    def _append(self) -> None:
        if self._open:
            pieces = ["Hel", "lo, this is ", "some more text. And more, ", " ", "yes! "]
            text = self.random.choice(pieces)
            self.ask(protocol.SayAppend(utterance=self.random.choice(self._open), text=text))

    def _close(self) -> None:
        if self._open:
            number = self._open.pop(self.random.randrange(len(self._open)))
            self.ask(protocol.SayClose(utterance=number))

    def _switch(self) -> None:
        name = self.random.choice(["low", "high", "other"])
        when: Any = self.random.choice(["next", "line", "now", "now"])
        more: Any = self.fields.choice(LIVING)
        named = not more or self.fields.random() < 0.4
        output = self.fields.choice([None, *self.mixers]) if more else None
        self.ask(protocol.Voice(name=name if named else None, when=when, output=output, **more))

    def _some(self) -> int:
        return self.random.randint(max(1, self._utterance - 6), max(1, self._utterance))

    def _withdraw(self) -> None:
        self.ask(Withdraw(self._some(), "cancel"))

    def _amend(self) -> None:
        number = self._some()
        found = self.lineup.find(number)
        if found is not None and not found.in_pieces:
            self.ask(Amend(number, self.random.choice(TEXTS), "z", None))

    # --- to the end ---------------------------------------------------------------------------

    def work_promptly(self) -> None:
        """A fifth of a second in which no engine is late and no device is."""
        for host in self.hosts.values():
            for serial in host.next_jobs():
                work = host.works.get(serial)
                if work is not None and self.now - work.since >= FIRST_CHUNK_S:
                    self.chunk(host, serial, 0.4)
        for _ in range(2):
            self.render(100)
        self.dispatch.advance()

    def drain(self) -> None:
        """Let everything come to its end."""
        self.shelf.cancel()
        for host in self.hosts.values():
            host.state = "up"
        for request in (protocol.Resume(), protocol.Unmute(), protocol.Mode(mode="speak")):
            self.ask(request)
        silent_s = 0.0
        while self.lineup._utterances:
            told = len(self.events)
            sounding = any(mixer.position(n)[0] for n, mixer in self._lanes())
            self.work_promptly()
            news = any(e.event.startswith("utterance.") for e in self.events[told:])
            open_line = any(u.open for u in self.lineup.on_stage())
            silent_s = 0.0 if news or sounding or open_line else silent_s + 0.2
            require(silent_s < PATIENCE_S + FIRST_CHUNK_S, "3: silence", self._state())
        for _ in range(4):
            self.work_promptly()

    def _lanes(self) -> Iterator[tuple[int, Mixer]]:
        for name, channel in self.lineup.channels.items():
            for lane in channel.lanes:
                yield lane.number, self.mixers[name]

    def _state(self) -> str:
        lines = [(u.number, u.voice, u.begun, u.exhausted, u.parts) for u in self.lineup.on_stage()]
        return f"waiting {list(self.lineup.queue.waiting())} on stage {lines}"

    def check_end(self) -> None:
        """When nothing is left: what must be true then."""
        require(self.ended.keys() == self.queued.keys(), "1: no end", self.queued.keys())
        require(not self.lineup._parts, "6: parts left", self.lineup._parts)
        require(not self.lineup.queue.count(), "1: left in the queue")
        for host in self.hosts.values():
            require(not host.wanted and not host.works, "6: jobs left", host.wanted)
        for mixer in self.mixers.values():
            require(not mixer._sources, "2: sources left", mixer._sources)
            for lane in mixer._playing:
                require(lane.fed == lane.consumed, "frames", lane.fed, lane.consumed)
        for number, kind in self.ended.items():
            if kind == "utterance.finished":
                self._check_whole(number)

    def _check_whole(self, number: int) -> None:
        """A line that finished was heard to its last word."""
        heard = self._hearing.get(number)
        starts = [word.start for word in words_of(self._text(number))]
        require(heard is not None, "4: finished, never heard", number)
        if heard is not None:
            missing = [at for at in starts[heard.next_word :] if at not in heard.left_out]
            require(not missing, "4: finished before its end", self._text(number), missing)


def world(seed: int) -> Air:
    """The world of a seed."""
    return Air(seed, twin=seed % 10 == 0, outputs=1 + (seed % 7 == 0))


STEPS = 18


def play(air: Air, steps: int = STEPS) -> Air:
    """Random operations, then everything to its end; raises `Broken`."""
    for _ in range(steps):
        air.operate()
    air.drain()
    air.check_end()
    return air


def run(seed: int, steps: int = STEPS) -> Air:
    return play(world(seed), steps)
