"""Recordings that libsndfile cannot read (m4a, mp4, webm, aac): decoded by the program ffmpeg.

It runs as a child with limits of its own, as a file from elsewhere may be made to hurt. The kind is
told by the first bytes and given to it, so that no playlist leads it to other files.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from koed.errors import EngineError

DECODE_S = 60
"""What a child may take, by the clock and of the processor."""
MEMORY_KB = 2 << 20
WAVE_BLOCKS = 1 << 19
"""Of 512 bytes: as much as 170 s of stereo at 192 kHz."""
HEAD_BYTES = 16
_LIMITED = 'ulimit -v "$1"; ulimit -f "$2"; ulimit -t "$3"; shift 3; exec "$@"'


def kind(head: bytes) -> str:
    """ffmpeg's name for what begins with ``head`` (`HEAD_BYTES`); empty: not one of these."""
    if head[4:8] == b"ftyp":
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    # ADTS; layer 0 tells it from mp3
    return "aac" if head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0 else ""


@contextlib.contextmanager
def as_wave(source: bytes | Path, form: str, longest_s: float) -> Iterator[Path]:
    """A WAV file of ``source``, a little longer than ``longest_s`` at most; it goes away again.

    ``form`` is of `kind`. Raises `EngineError` ``decoder_missing`` or ``reference_unreadable``.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise EngineError(
            "decoder_missing",
            "the reference audio is of a kind (m4a, mp4, webm, aac) that the program ffmpeg"
            " decodes, and it is not installed",
            "sudo apt install ffmpeg; or give it as a wav, flac, ogg or mp3 file",
        )
    with tempfile.TemporaryDirectory(prefix="koed-decode-") as folder:
        given = Path(folder, "given")
        if isinstance(source, bytes):
            given.write_bytes(source)
        else:
            given = source.resolve()
        made = Path(folder, "made.wav")
        _run(program, form, given, made, longest_s)
        yield made


def _run(program: str, form: str, given: Path, made: Path, longest_s: float) -> None:
    options = ["-nostdin", "-v", "error", "-protocol_whitelist", "file", "-f", form]
    options += ["-i", f"file:{given}", "-map", "0:a:0", "-vn", "-sn", "-dn"]
    options += ["-t", f"{longest_s + 1:g}", "-c:a", "pcm_f32le", "-f", "wav", f"file:{made}"]
    limits = [str(limit) for limit in (MEMORY_KB, WAVE_BLOCKS, DECODE_S)]
    command = ["/bin/sh", "-c", _LIMITED, "sh", *limits, program, *options]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=DECODE_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unreadable(f"ffmpeg did not come to an end ({type(error).__name__})") from error
    if done.returncode or not made.is_file():
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason"])[-1]
        raise _unreadable(f"ffmpeg says: {last[:200].replace(str(given), given.name)}")


def _unreadable(why: str) -> EngineError:
    return EngineError(
        "reference_unreadable",
        f"the reference audio cannot be read: {why}",
        "give it as a wav, flac, ogg or mp3 file",
    )
