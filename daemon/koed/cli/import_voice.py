"""`koed voices import PACK`: a zip or folder of GPT-SoVITS becomes voices: shown, asked, done."""

from __future__ import annotations

import argparse
import json
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koed.cli import import_table
from koed.cli.asking import agreed, say
from koed.cli.show_voice import RATE_HZ, languages_of, needed
from koed.errors import KoedError

if TYPE_CHECKING:
    from koed.config.daemon import Config
    from koed.voices.packs.act import Imported, Target, Terms
    from koed.voices.packs.items import PackSource
    from koed.voices.packs.plan import PackPlan, PlannedVoice

MOST_TOLD, MOST_NAMED = 12, 3
"""Reasons for which something is left out, and files with each, that are told."""


def arguments(actions: Any) -> None:
    """Adds `import` to the actions of `koed voices`."""
    sub = actions.add_parser(
        "import",
        help="make voices of a zip or folder of GPT-SoVITS, or of tables of kokoro",
        description="Looks through a zip, a folder (also a whole GPT-SoVITS) or some files, pairs"
        " the models, finds clips and what is said in them, shows what it would make of that, and"
        " asks once. A table of kokoro (.bin, .npy, .npz, .safetensors, .pt) becomes a voice, too.",
        epilog='example: koed voices import hana.zip --consent "Hana herself, by letter of 2 May"',
    )
    options(sub)
    sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    sub.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS)


def options(sub: argparse.ArgumentParser) -> None:
    """Those of `koed voices import` and `koed models import`."""
    sub.add_argument("sources", nargs="+", type=Path, metavar="PACK", help="zip, folder or files")
    sub.add_argument("--name", default="", help="a-z, 0-9, _ and -; else from the pack")
    sub.add_argument("--licence", default="", metavar="TEXT", help="of the model")
    sub.add_argument("--consent", default="", metavar="TEXT", help="whose voice, who agreed")
    sub.add_argument("--only", default="", metavar="VOICE", help="one voice of several")
    sub.add_argument("--clip", default="", metavar="PART", help="of the name of the clip to take")
    sub.add_argument("--text", default="", help="what is said there, if the pack does not tell")
    sub.add_argument("--lang", default="", metavar="CODE", help="zh, ja, en, ko or yue")
    sub.add_argument("--yes", action="store_true", help="do it without asking")
    sub.add_argument("--force", action="store_true", help="replace profiles of that name")
    sub.add_argument("--no-prepare", action="store_true", help="leave that to the daemon")


def is_pack(sources: Sequence[Path]) -> bool:
    """Whether `koed models import` is given more than the two files of a model."""
    from koed.engine.gpt_sovits.store.importing import expanded

    if len(sources) != 1:
        return False
    return not sources[0].is_dir() or len(expanded(sources[0])) != 2


def run(loaded: Config, args: argparse.Namespace) -> int:
    """PackPlan, show, ask, do; raises `KoedError`. 1 = something was not done."""
    from koed.voices.packs import act, plan, shared, tables
    from koed.voices.packs.sources import opened

    if held := tables.found(args.sources):
        return import_table.run(loaded, args, held)
    target = _target(loaded, args)
    asked = plan.PackWish(args.name, args.only, args.clip, args.text, args.lang)
    with (
        act.staging(target.store) as staging,
        opened(args.sources, staging, lambda text: say(args, text)) as source,
    ):
        planned = plan.make(source, asked)
        lacking = _lacking(target, planned)
        parts = shared.found(source, lacking)
        lacking = [kind for kind in lacking if kind not in parts]
        for line in _table(planned, target.terms, lacking, parts):
            say(args, line)
        done = []
        if agreed(args, len(planned.voices)):
            shared.link(target.store, parts)
            done = _do(args, source, planned, target)
    if args.json:
        print(json.dumps(_as_json(planned, lacking, done), ensure_ascii=False))
    return 0 if len(done) == len(planned.voices) and all(each.enrolment for each in done) else 1


def _target(loaded: Config, args: argparse.Namespace) -> Target:
    from koed.config import daemon as config
    from koed.config.profile import check_name
    from koed.engine import folders
    from koed.engine.gpt_sovits.store.store import Store
    from koed.voices.enroll import writable
    from koed.voices.packs.act import Target, Terms

    profiles = writable(config.resolve(loaded, "profiles"))
    if args.name:
        check_name(profiles / f"{args.name}.yaml")
    store = Store(getattr(args, "folder", None) or folders.models(os.environ))
    terms = Terms(args.licence, args.consent)
    cache = config.cache_dir()
    return Target(store, profiles, cache, terms, args.force, not args.no_prepare)


def _lacking(target: Target, planned: PackPlan) -> list[str]:
    """Networks that preparing and speaking will need, and that are not there."""
    wanted = {
        kind
        for voice in planned.voices
        for kind in needed(
            voice.pair.sovits.info.version, *(heard.clip.lang for heard in voice.clips[:1])
        )
    }
    there = {part.info.kind for part in target.store.scan().parts}
    return sorted(wanted - there)


def _do(
    args: argparse.Namespace, source: PackSource, planned: PackPlan, target: Target
) -> list[Imported]:
    from koed.voices.packs import act

    done = []
    for voice in planned.voices:
        try:
            made = act.carry_out(source, voice, target)
        except KoedError as error:
            if len(planned.voices) == 1:
                raise
            say(args, f"{voice.name}: not imported: {error}")
            continue
        done.append(made)
        for line in _outcome(made):
            say(args, line)
    return done


# --- what the user gets to see -------------------------------------------------------------------


def _table(
    planned: PackPlan, terms: Terms, lacking: Sequence[str], parts: Mapping[str, Path]
) -> Iterator[str]:
    yield f"{planned.pack}: {len(planned.voices)} voice{'s' * (len(planned.voices) != 1)}"
    for voice in planned.voices:
        for head, text in _rows(voice, terms):
            yield f"  {head:9} {text}"
    for text in planned.terms:
        yield f"  terms     {text}: read what its author allows"
    for kind, path in parts.items():
        yield f"  network   {kind}: linked, {path}"
    if lacking:
        yield f"  missing   {', '.join(lacking)}: koed models pull {' '.join(lacking)}"
    yield from _left_out(planned)


def _left_out(planned: PackPlan) -> Iterator[str]:
    """A line each, or one for all with the same reason."""
    by_reason: dict[str, list[str]] = {}
    for path, why in planned.passed:
        by_reason.setdefault(why, []).append(path)
    for why, paths in list(by_reason.items())[:MOST_TOLD]:
        more = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
        yield f"  left out  {', '.join(paths[:MOST_NAMED])}{more}{f': {why}' if why else ''}"


def _rows(voice: PlannedVoice, terms: Terms) -> Iterator[tuple[str, str]]:
    from koed.voices.packs import act

    pair = voice.pair
    languages = " ".join(languages_of(pair.sovits.info))
    other = f" ({pair.title})" if pair.title != voice.name else ""
    yield "voice", f"{voice.name}{other}"
    yield "model", f"{pair.sovits.info.version}, {RATE_HZ // 1000} kHz, {languages}"
    yield "GPT", str(pair.t2s.path)
    yield "SoVITS", str(pair.sovits.path)
    yield "paired", pair.reason
    if voice.clips:
        heard = voice.clips[0]
        yield "clip", f"{heard.clip.item.path}, {heard.seconds:.1f} s are taken"
    if voice.problem:
        yield "said", f"UNKNOWN: {voice.problem}; without a clip only the model is imported"
    else:
        clip = voice.clips[0].clip
        part = "; a part of it, found by time" if voice.clips[0].guessed else ""
        yield "said", f"{clip.text} ({clip.lang or 'auto'}, by {clip.source}{part})"
    for heard in voice.moods:
        kept = f"as style {heard.clip.mood}" if act.STYLES else f"{heard.clip.mood}, not enrolled"
        yield "mood", f"{heard.clip.item.path.name}, {kept}"
    yield "licence", terms.licence or "unknown, and stays empty: --licence TEXT"
    yield "consent", terms.consent or "unknown, and stays empty: --consent TEXT"


def _outcome(made: Imported) -> Iterator[str]:
    state = "imported" if made.is_new else "there already"
    yield f"model {made.model.name}: {made.model.version}, {state}"
    report = made.enrolment
    if report is None:
        yield f"no profile: {made.remark}"
        return
    for remark in report.remarks:
        yield textwrap.fill(f"remark: {remark}", 100, subsequent_indent="        ")
    took = f", prepared in {report.prepared['took_s']} s" if report.prepared else ""
    yield f"voice {made.planned.name}: {report.profile}{took}"
    yield f'try it: koe say --voice {made.planned.name} "…"'


def _as_json(planned: PackPlan, lacking: Sequence[str], done: Sequence[Imported]) -> dict[str, Any]:
    made = {each.planned.name: each for each in done}
    return {
        "pack": planned.pack,
        "voices": [_voice_as_json(voice, made.get(voice.name)) for voice in planned.voices],
        "terms": list(planned.terms),
        "missing": list(lacking),
        "left_out": [{"path": path, "why": why} for path, why in planned.passed],
    }


def _voice_as_json(voice: PlannedVoice, made: Imported | None) -> dict[str, Any]:
    heard = [*voice.clips[:1], *voice.moods]
    return {
        "name": voice.name,
        "title": voice.pair.title,
        "version": voice.pair.sovits.info.version,
        "t2s": str(voice.pair.t2s.path),
        "sovits": str(voice.pair.sovits.path),
        "reason": voice.pair.reason,
        "clips": [
            {
                "path": str(each.clip.item.path),
                "seconds": round(each.seconds, 2),
                **{f: getattr(each.clip, f) for f in ("text", "lang", "mood", "source")},
            }
            for each in heard
        ],
        "problem": voice.problem,
        "model": made.model.name if made else None,
        "new": made.is_new if made else None,
        "enrolment": made.enrolment.as_json() if made and made.enrolment else None,
        "remark": made.remark if made else "",
    }
