"""``python -m tools NAME ...``: what `koed bench` and `koed proof` run in a checkout.

What is found is the last line of standard output, as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from koed.bench.main import AIR_PARTS
from koed.errors import KoedError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools", description=__doc__)
    tools = parser.add_subparsers(dest="tool", required=True)
    tools.add_parser("air").add_argument("parts", nargs="*", choices=(*AIR_PARTS, []))
    tools.add_parser("memory").add_argument("utterances", type=int)
    tools.add_parser("words")
    tools.add_parser("proof").add_argument("out", type=Path)
    tools.add_parser("pictures").add_argument("out", type=Path)
    tools.add_parser("prosody").add_argument("out", type=Path)
    return parser


def _found(args: argparse.Namespace) -> dict[str, Any]:
    if args.tool == "air":
        from tools import air

        return air.measure(parts=tuple(args.parts) or AIR_PARTS)
    if args.tool == "memory":
        from tools import memory

        return memory.run(args.utterances)
    from tools import words

    return words.measure()


def main() -> int:
    args = _parser().parse_args()
    try:
        if args.tool == "proof":
            from tools import proof

            return proof.command(args.out)
        if args.tool == "pictures":
            from tools import pictures

            pictures.make(args.out)
            return 0
        if args.tool == "prosody":
            from tools import natural_prosody

            natural_prosody.draw(args.out / "natural-pitch.svg")
            natural_prosody.measure()
            return 0
        print(json.dumps(_found(args)))
    except KoedError as error:
        print(f"{error.message}: {error.hint}" if error.hint else error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
