"""`koed voices import FILE` of tables of the natural voice: shown, asked, done."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from koed.cli.asking import agreed, say
from koed.errors import KoedError

if TYPE_CHECKING:
    from koed.config.daemon import Config
    from koed.engine.kokoro.tables import Table
    from koed.voices.packs.act import Terms
    from koed.voices.packs.tables import PlannedTable


def run(loaded: Config, args: argparse.Namespace, held: dict[str, Table]) -> int:
    """What was found in ``args.sources`` becomes voices; raises `KoedError`. 1 = something was not
    done."""
    from koed.config.daemon import resolve
    from koed.voices.enroll import writable
    from koed.voices.packs import tables
    from koed.voices.packs.act import Terms

    folder = writable(resolve(loaded, "profiles"))
    terms = Terms(args.licence, args.consent)
    planned = tables.planned(held, args.name, args.only, args.lang)
    for line in _told(planned, terms):
        say(args, line)
    done: dict[str, Path] = {}
    for voice in planned if agreed(args, len(planned)) else ():
        try:
            done[voice.name] = tables.carry_out(voice, folder, terms.rights, args.force)
        except KoedError as error:
            if len(planned) == 1:
                raise
            say(args, f"{voice.name}: not imported: {error}")
            continue
        say(args, f'voice {voice.name}: {done[voice.name]}; koe say --voice {voice.name} "…"')
    if args.json:
        rows = [_row(voice, terms, done.get(voice.name)) for voice in planned]
        print(json.dumps({"engine": tables.ENGINE, "voices": rows}, ensure_ascii=False))
    return 0 if len(done) == len(planned) else 1


def _told(planned: Sequence[PlannedTable], terms: Terms) -> Iterator[str]:
    yield f"{len(planned)} voice{'s' * (len(planned) != 1)} of the engine kokoro"
    for voice in planned:
        yield f"  voice     {voice.name}" + (f" ({voice.title})" * (voice.title != voice.name))
        yield f"  language  {voice.lang}" + (", a guess: --lang CODE" if voice.guessed else "")
        if voice.same_as:
            yield f"  the same  comes with koed: settings: {{voice: {voice.same_as}}}"
        if rights := voice.rights(terms.rights):
            yield f"  rights    {rights}"
            continue
        yield "  licence   unknown, and stays empty: --licence TEXT"
        yield "  consent   unknown, and stays empty: --consent TEXT"


def _row(voice: PlannedTable, terms: Terms, profile: Path | None) -> dict[str, str | None]:
    return {
        "name": voice.name,
        "title": voice.title,
        "lang": voice.lang,
        "same_as": voice.same_as,
        "rights": voice.rights(terms.rights),
        "profile": str(profile) if profile else None,
    }
