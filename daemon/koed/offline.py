"""`koed render`: a line into a WAV file, faster than real time, on the same path as on the air."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import zmq

from koe.protocol import Event, LineFields, UtteranceDropped, UtteranceFailed
from koed.audio.mixer import Mixer
from koed.audio.sinks import WavSink
from koed.config.daemon import Config
from koed.config.delivery import Delivery
from koed.config.styles import CLIP, styled
from koed.errors import KoedError
from koed.events import Bus, LineEnd
from koed.playback.dispatch import Outlet
from koed.playback.inputs import Submit
from koed.playback.queue import Line
from koed.text import language
from koed.text.normalize import normalize
from koed.voices.styles import chosen
from koed.wiring import assemble

OUTPUT = "file"
WAIT_S = 10.0
"""A voice that takes longer to prepare is of no engine that plans a sentence at once."""


class Renderer:
    """The voice without server and device: the file takes the sound as fast as it is made."""

    def __init__(self, config: Config, runtime_dir: Path) -> None:
        self.config = config
        self._over: LineEnd | None = None
        self.bus = Bus()
        self.bus.listen(self._note)
        self.context: zmq.Context[Any] = zmq.Context()
        audio = config.audio
        self.mixer = Mixer(
            audio.rate_hz, fade_ms=audio.fade_ms, true_peak_db=audio.true_peak_db, history_s=0.0
        )
        outlet = Outlet(self.mixer, lambda frame: frame / audio.rate_hz)
        voice = assemble(config, self.context, runtime_dir, {OUTPUT: outlet}, self.bus)
        self.engines, self.book, self.dispatch = voice.engines, voice.book, voice.dispatch

    def _note(self, event: Event) -> None:
        if isinstance(event, LineEnd):
            self._over = event

    def close(self) -> None:
        self.engines.stop(0.5)
        self.context.destroy(linger=0)

    def turn(self) -> None:
        """Wait for the engines, at most 50 ms, and hear what they have."""
        poller = zmq.Poller()
        for socket in self.engines.sockets():
            poller.register(socket, zmq.POLLIN)
        poller.poll(50)
        self.engines.receive()
        self.engines.tick(time.monotonic())
        self.dispatch.advance()

    def speak(self, line: Line, sink: WavSink) -> None:
        """Write a line to ``sink``; raises `KoedError` with the reason if it cannot be spoken."""
        self._over = None
        self._wait_for(line.voice)
        self.dispatch.ask(Submit(line))
        while self._over is None:
            if not sink.pull(self.mixer):
                self.turn()
            else:
                self.dispatch.advance()
        sink.finish(self.mixer)
        if isinstance(self._over, UtteranceFailed):
            raise KoedError(self._over.code, self._over.message)
        if isinstance(self._over, UtteranceDropped):
            raise KoedError(self._over.reason, "nothing in this text can be spoken")

    def _wait_for(self, voice: str) -> None:
        """Until it is ready or cannot be: what its engine can do decides how a line is cut."""
        deadline = time.monotonic() + WAIT_S
        known = self.dispatch.player.lineup.voices
        while time.monotonic() < deadline:
            state = known.by_name.get(voice)
            engine = known.engines.get(state.engine) if state else None
            if state is not None and state.code:
                return
            if engine is not None and engine.state not in ("stopped", "starting"):
                return
            self.turn()


def render_file(
    config: Config, text: str, voice: str | None, lang: str | None, path: Path,
    fields: LineFields = LineFields(),  # noqa: B008 - a frozen value
) -> dict[str, Any]:  # fmt: skip
    """Speak ``text`` into ``path``. Returns ``{file, voice, seconds, took_s, rate_hz}``."""
    language.check(lang)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="koed-") as folder:
        renderer = Renderer(config, Path(folder))
        try:
            delivery = Delivery.read_from(fields)
            name = voice or config.voice
            style = f"{fields.reference}{CLIP}" if fields.reference else fields.style
            renderer.book.refresh(only=styled(name, style or ""))
            renderer.book.check(name)
            choice = chosen(renderer.book, name, fields.style, fields.reference)
            name, delivery = styled(name, choice.style), delivery.over(choice.delivery)
            profile = renderer.book.profile(name)
            words = normalize(text, config.text, lang or (profile.lang if profile else None))
            if not words:
                raise KoedError("nothing_to_say", "nothing in this text can be spoken")
            sink = WavSink(str(path), config.audio.rate_hz)
            try:
                renderer.speak(Line(1, words, name, OUTPUT, lang=lang, delivery=delivery), sink)
            except BaseException:
                sink.close()
                if path.is_file():  # half a line would look like a whole one
                    path.unlink()
                raise
        finally:
            renderer.close()
    return {
        "file": str(path),
        "voice": name,
        "seconds": round(sink.frames / sink.rate_hz, 3),
        "took_s": round(time.monotonic() - began, 3),
        "rate_hz": sink.rate_hz,
    }
