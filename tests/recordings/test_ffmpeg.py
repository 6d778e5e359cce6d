"""m4a, mp4, webm and aac: by the program ffmpeg, and by nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from koed.errors import EngineError
from koed.recordings import ffmpeg
from koed.recordings import recording as reference
from koed.recordings.recording import Recording

RATE_HZ = 32_000
MOV, MATROSKA, ADTS = b"\0\0\0\x1cftypM4A ", b"\x1a\x45\xdf\xa3\x9f", b"\xff\xf1\x50\x40"


def tone(seconds: float) -> Recording:
    at_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return Recording((0.5 * np.sin(2 * np.pi * 300 * at_s)).astype(np.float32), RATE_HZ)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (MOV, "mov"), (MATROSKA, "matroska"), (ADTS, "aac"), (b"\xff\xf9", "aac"),
        (b"\xff\xfb\x90", ""), (b"RIFF", ""), (b"ID3", ""), (b"#EXTM3U", ""), (b"", ""),
        (b"\xff", ""),
    ],
)  # fmt: skip
def test_the_first_bytes_tell(head: bytes, kind: str) -> None:
    assert ffmpeg.kind(head) == kind


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program of that name that is found before all others."""
    program = folder / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_it_is_given_the_kind_and_decodes_into_a_file_that_goes_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference.write(tmp_path / "sound.wav", tone(4.0))
    log = tmp_path / "asked"
    script = f'echo "$@" > {log}; for last; do :; done; cp {tmp_path}/sound.wav "${{last#file:}}"'
    stand_in(tmp_path, monkeypatch, script)
    for source in (MOV, tmp_path / "clip.m4a"):
        (tmp_path / "clip.m4a").write_bytes(MOV)
        assert reference.read(source).duration_s == pytest.approx(4.0)
        asked = log.read_text().split()
        assert asked[asked.index("-f") + 1] == "mov"
        assert asked[asked.index("-t") + 1] == "31"
        assert not Path(asked[-1].removeprefix("file:")).exists()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo moov atom not found >&2; exit 1", "moov atom not found"),
        ("exit 0", "no reason"),
        ('for last; do :; done; yes > "${last#file:}"', "cannot be read"),
    ],
)
def test_what_it_cannot_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    monkeypatch.setattr(ffmpeg, "WAVE_BLOCKS", 8)
    stand_in(tmp_path, monkeypatch, script)
    with pytest.raises(EngineError, match=why) as caught:
        reference.read(ADTS)
    assert caught.value.code == "reference_unreadable"


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "DECODE_S", 0.2)
    stand_in(tmp_path, monkeypatch, "exec sleep 60")
    with pytest.raises(EngineError, match="did not come to an end"):
        reference.read(MATROSKA)


def test_without_it_koed_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError) as caught:
        reference.read(MOV)
    assert caught.value.code == "decoder_missing"
    assert "apt install ffmpeg" in caught.value.hint


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("ending", ["m4a", "mp4", "webm", "aac"])
def test_the_real_one(tmp_path: Path, ending: str) -> None:
    reference.write(tmp_path / "sound.wav", tone(4.0))
    clip = tmp_path / f"clip.{ending}"
    made = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "sound.wav"), str(clip)]
    subprocess.run(made, check=True, timeout=60)
    read = reference.read(clip)
    assert read.duration_s == pytest.approx(4.0, abs=0.15)
    assert np.abs(read.samples[RATE_HZ:]).max() == pytest.approx(0.5, abs=0.1)
    with pytest.raises(EngineError) as caught:
        reference.read(clip.read_bytes(), longest_s=2.0)
    assert caught.value.code == "reference_long"
