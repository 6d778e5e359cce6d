"""Random sequences by seed, and `make fuzz`: new seeds for some minutes.

python -m tests.playback.sequences --minutes 10
python -m tests.playback.sequences --seeds 325 686      these alone, with what was done
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import time
from collections.abc import Iterable

from tests.playback import air

SEQUENCES = 5000
"""In the tests, always the same."""
FILES = 4
CHUNK = 125

OLD_FAULTS = (325, 686, 743, 1086, 1937, 2330, 9232, 328592, 329001, 1176257)
"""Seeds at which such a test broke the core of its day."""


def parts(number: int) -> list[range]:
    """Every seed of the tests is in one part."""
    share = SEQUENCES // FILES
    return [
        range(at, at + CHUNK) for at in range(number * share, (number + 1) * share, CHUNK)
    ]  # fmt: skip


def sequences(seeds: Iterable[int]) -> None:
    """Raises `air.Broken` with the seed."""
    logging.getLogger("koed.playback").setLevel(logging.CRITICAL)  # faults are asked for here
    for seed in seeds:
        try:
            air.run(seed)
        except Exception as error:
            raise air.Broken(f"seed {seed}: {error}") from error


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, nargs="*", metavar="SEED")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if args.seeds:
        return show(args.seeds)
    until = time.monotonic() + 60.0 * args.minutes
    seeds = random.Random(os.urandom(8))
    count, broken, told = 0, 0, time.monotonic()
    while time.monotonic() < until:
        seed = seeds.randrange(SEQUENCES, 2**40)
        count += 1
        try:
            air.run(seed, steps=seeds.choice([air.STEPS, 60]))
        except Exception as error:  # noqa: BLE001 - each is a finding
            broken += 1
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:400]}", flush=True)
        if time.monotonic() - told > 30.0:
            told = time.monotonic()
            print(f"{count} sequences, {broken} broken", file=sys.stderr, flush=True)
    print(f"{count} sequences, {broken} broken")
    return 1 if broken else 0


def show(seeds: Iterable[int]) -> int:
    """What was done in some sequences, and what broke."""
    broken = 0
    for seed in seeds:
        world = air.world(seed)
        try:
            air.play(world)
        except Exception as error:  # noqa: BLE001 - it is shown
            broken += 1
            print(f"seed {seed}: {error}")
        for at, item in world.log:
            print(f"{at:10.3f}  {item}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
