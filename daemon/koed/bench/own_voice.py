"""`koed bench engine --voice NAME`: a voice of the user's, with its own model, in this process."""

from __future__ import annotations

import resource
import statistics
from typing import Any

from koed.config.daemon import Config
from koed.config.profile import Profile
from koed.in_process import LoadedVoice
from koed.text.greeting import greeting

FIRSTS, LINES = 20, 3
"""Lines whose first chunk is timed, and those that are spoken to their end."""


def measure(profile: Profile, config: Config) -> dict[str, Any]:
    """Measure and print a table; what is said is the greeting of `koed voices try`."""
    text = greeting(profile.lang)
    with LoadedVoice(profile, config) as voice:
        voice.begin(text)
        firsts = sorted(voice.begin(text, seed=seed) for seed in range(FIRSTS))
        spoken = [voice.speak(text, seed=seed) for seed in range(LINES)]
        found = {
            **voice.facts(),
            "ready_s": round(voice.ready_s, 2),
            "prepared_before": voice.cached,
            "first_chunk_ms": round(1000 * statistics.median(firsts), 1),
            "first_chunk_worst_ms": round(1000 * firsts[-1], 1),
            "rtf": round(statistics.median(one.rtf for one in spoken), 3),
            "seconds": round(statistics.median(one.seconds for one in spoken), 2),
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        }
    for name, value in found.items():
        print(f"{name:22} {value}")
    return {"engine": found}
