"""Every other language through the espeak-ng program.

espeak-ng is GPL: it is run as a program of its own, never linked. The text goes in by its standard
input, so no text can become an option.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator

import numpy as np

from koed.engine.embedded.script import as_unicode, speakable, write
from koed.engine.embedded.sound import Manner, Piece
from koed.engine.loudness import integrated_lufs
from koed.errors import EngineError

RATE_HZ = 22050
SILENCE = 0.003
HINT = "install the package espeak-ng (apt-get install espeak-ng)"
MAX_CHARS = 4000
_PROGRAM = "espeak-ng"
_HEADER_BYTES = 44
_READ_BYTES = 8192
_LEVEL_TEXT = "2 4 7 9"
"""In every language about a second, and about as loud as a sentence."""
_SOFTEST_LUFS = -35.0
"""Nothing is brought up from below."""
_WORDS_PER_MINUTE = 175.0
_PITCH_UP, _PITCH_DOWN = 6.3, 8.5
"""Steps of ``-p`` per semitone, measured; 50 is the voice's own pitch."""
_ALIASES = {"zh": "cmn", "no": "nb", "iw": "he", "in": "id", "tl": "fil", "mo": "ro", "jp": "ja"}


class Espeak:
    """One process per text: it is up and speaking within 10 ms, and ends with its stream."""

    def __init__(self) -> None:
        self._languages: dict[str, str] = {}
        self._levels: dict[tuple[str, str], float] = {}

    def load(self) -> None:
        """Asks the program for its languages; raises `EngineError` ``library_missing``."""
        if self._languages:
            return
        try:
            done = subprocess.run(
                [_PROGRAM, "--voices"], capture_output=True, text=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EngineError(
                "library_missing", f"espeak-ng cannot be run: {error}", HINT
            ) from error
        for line in done.stdout.splitlines()[1:]:
            tag = line.split()[1].lower()
            self._languages[tag] = tag

    def language(self, lang: str) -> str:
        """espeak-ng's name for a language tag; raises `EngineError` ``unknown_language``."""
        self.load()
        tag = lang.lower().replace("_", "-")
        primary = tag.split("-")[0]
        for name in (tag, _ALIASES.get(tag), _ALIASES.get(primary), primary):
            if name in self._languages:
                return self._languages[name]
        regional = [name for name in self._languages if name.split("-")[0] == primary]
        if regional:
            return min(regional)
        raise EngineError(
            "unknown_language", f"no embedded voice speaks {lang[:20]!r}",
            "give a language code such as en, ja, zh, ko, de",
        )  # fmt: skip

    def level_lufs(self, lang: str, variant: str) -> float:
        """How loud it is before any gain, measured once: a variant is up to 5 LU softer or louder
        than the plain voice, and in each language by another amount. Costs about 15 ms."""
        key = self.language(lang), variant
        if key not in self._levels:
            spoken = [piece.pcm for piece in self.speak(_LEVEL_TEXT, lang, variant, Manner())]
            lufs = integrated_lufs(np.concatenate([np.zeros(0), *spoken]), RATE_HZ)
            self._levels[key] = max(_SOFTEST_LUFS, lufs)
        return self._levels[key]

    def speak(self, text: str, lang: str, variant: str, manner: Manner) -> Iterator[Piece]:
        """``text`` as raw sound at `RATE_HZ`; the program knows no intonation and needs no seed."""
        voice = self.language(lang) + (f"+{variant}" if variant else "")
        spoken = write(text, as_unicode, 200).text
        if not speakable(spoken):
            return
        steps = manner.pitch * (_PITCH_UP if manner.pitch > 0.0 else _PITCH_DOWN)
        command = [
            _PROGRAM, "--stdout", "--stdin", "-b", "1", "-z", "-v", voice,
            "-s", str(round(min(450.0, max(80.0, _WORDS_PER_MINUTE * manner.rate)))),
            "-p", str(round(min(99.0, max(0.0, 50.0 + steps)))),
        ]  # fmt: skip
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise EngineError(
                "library_missing", f"espeak-ng cannot be run: {error}", HINT
            ) from error
        try:
            yield from _sound(process, spoken[:MAX_CHARS].encode())
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


def is_variant(name: str) -> bool:
    """Whether ``name`` can only be a variant's name: it becomes part of an argument."""
    return re.fullmatch(r"[A-Za-z0-9]{0,24}", name) is not None


def _sound(process: subprocess.Popen[bytes], text: bytes) -> Iterator[Piece]:
    """Its standard output (a WAV whose length field means nothing) as it comes."""
    if process.stdin is None or process.stdout is None:
        raise EngineError("espeak_failed", "espeak-ng has no pipes")
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(text)
        process.stdin.close()
    skip, rest = _HEADER_BYTES, b""
    # os.read: what is there now, never waiting for more
    while data := os.read(process.stdout.fileno(), _READ_BYTES):
        data = rest + data
        if len(data) < skip + 2:
            rest = data
            continue
        whole = len(data) - len(data) % 2
        pcm = np.frombuffer(data[skip:whole], dtype="<i2").astype(np.float32)
        skip, rest = 0, data[whole:]
        yield Piece(pcm / np.float32(32768.0))
    if process.wait() != 0:
        raise EngineError("espeak_failed", f"espeak-ng ended with {process.returncode}")
