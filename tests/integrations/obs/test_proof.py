"""The proof that `make proof` gives, as a test: what OBS recorded is what koed said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tools import evidence, proof


@pytest.mark.slow
def test_obs_records_two_voices_and_their_captions(tmp_path: Path) -> None:
    report = proof.run(tmp_path, print)
    assert report["voices_in_order"], report["voices"]
    assert report["caption_seen"], report["captions"]
    assert report["level_difference_db"] <= 1.0
    assert report["reconnected_s"] < 20.0  # how fast it is, make proof judges
    assert report["spoke_without_obs"]
    assert report["caption_after_restart"]
    assert (tmp_path / "screenshot.png").stat().st_size > 10_000
    assert [path.stem for path in tmp_path.glob("recording.*")] == ["recording"]


def test_evidence_is_found_and_not_invented() -> None:
    rng = np.random.default_rng(1)
    one, other = (rng.standard_normal(48000).astype(np.float32) / 4 for _ in range(2))
    gap = np.zeros(1600, np.float32)
    torn = np.concatenate([gap, one[:8000], np.zeros(80, np.float32), one[8000:], gap]) * 0.3
    found = evidence.find(torn, one)
    assert found.likeness > 0.95, "a hole of 5 ms is no other voice"
    assert abs(found.start_s - 0.1) < 0.01
    assert evidence.find(torn, other).likeness < 0.3

    tones = [(0.0, 10.0)]
    meters = [(t, 0.1, 0.2) for t in range(1, 9)]
    levels = [(t, -20.0, -13.98) for t in range(1, 9)]
    assert evidence.level_difference_db(tones, meters, levels) < 0.01
    louder = [(t, 2 * rms, 2 * peak) for t, rms, peak in meters]
    assert 6.0 < evidence.level_difference_db(tones, louder, levels) < 6.1
    assert evidence.level_difference_db(tones, [], levels) == float("inf")
    assert evidence.level_difference_db([], meters, levels) == float("inf")
