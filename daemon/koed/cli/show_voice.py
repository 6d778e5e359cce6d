"""`koed voices` and `koed voices show NAME`: what there is, what a voice is and lacks."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koed.cli import try_voice
from koed.errors import KoedError

if TYPE_CHECKING:
    from koed.config.daemon import Config
    from koed.config.profile import Profile
    from koed.engine.gpt_sovits.checkpoints.checkpoint import ModelInfo
    from koed.engine.gpt_sovits.store.store import Model, Store

NEURAL, NATURAL = "gpt_sovits", "kokoro"
RATE_HZ = 32_000
"""Of all models that koed speaks with."""


def arguments(actions: Any) -> None:
    """Adds `show` to the actions of `koed voices`."""
    sub = actions.add_parser(
        "show",
        help="version, languages, licence and consent of a voice, and what it lacks",
        description="Shows what a voice is made of, what it may be used for, and what it lacks.",
        epilog="example: koed voices show hana --json",
    )
    sub.add_argument("name", metavar="NAME")
    sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    sub.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS)


def overview(loaded: Config, args: argparse.Namespace) -> int:
    """All profiles, a line each; 1 if one is broken."""
    from koed.config.daemon import resolve
    from koed.config.profile_folder import ProfileFolder

    scan = ProfileFolder(resolve(loaded, "profiles"), outputs=tuple(loaded.outputs)).scan()
    for name, profile in sorted(scan.voices.items()):
        row = _row(profile) | {"tags": list(profile.tags), "styles": sorted(profile.styles)}
        line = f"{name:12} {profile.engine:10} {profile.lang:4} {profile.description}"
        rights = profile.rights and f"\n{'':12} {profile.rights}"
        print(json.dumps(row, ensure_ascii=False) if args.json else line + rights)
    for name, error in scan.broken.items():
        row = {"name": name, "error": error.message}
        line = f"{name:12} BROKEN: {error.message}"
        print(json.dumps(row, ensure_ascii=False) if args.json else line)
    return 1 if scan.broken else 0


def _row(profile: Profile) -> dict[str, Any]:
    keys = ("name", "engine", "lang", "description", "rights")
    return {key: getattr(profile, key) for key in keys}


def run(loaded: Config, args: argparse.Namespace) -> int:
    """The command; 1 if the voice lacks something. Raises `KoedError` ``unknown_voice``."""
    from koed.engine import folders
    from koed.engine.gpt_sovits.store.store import Store

    row = describe(try_voice.find(loaded, args.name), Store(folders.models(os.environ)))
    if args.json:
        print(json.dumps(row, ensure_ascii=False))
        return int(bool(row["missing"]))
    for key, value in row.items():
        told = ", ".join(map(str, value)) if isinstance(value, list) else value
        if key == "missing":
            for what, hint in value:
                print(f"{'missing':12} {what}" + (f"\n{'':12} -> {hint}" if hint else ""))
        else:
            print(f"{key:12} {'unknown' if told in ('', None) else told}")
    return int(bool(row["missing"]))


def describe(profile: Profile, store: Store) -> dict[str, Any]:
    """A row of plain values; ``missing`` holds pairs of what is missing and what to do."""
    row = _row(profile)
    if profile.engine != NEURAL or profile.remote is not None:
        lacks = [] if profile.rights else [_no_rights(profile)]
        made_of = _shipped(profile) if profile.engine == NATURAL else {}
        return {**row, **made_of, "missing": lacks}
    model, problem = _model(profile, store)
    card = model.card if model else {}
    reference = profile.reference
    row |= {
        "model": model.name if model else "",
        "version": model.version if model else "",
        "languages": languages_of(model.sovits.info) if model else [],
        "rate_hz": RATE_HZ,
        "licence": card.get("licence", ""),
        "consent": card.get("consent", ""),
        "reference": reference.audio if reference else "",
        "transcript": reference.transcript if reference else "",
    }
    return {**row, "missing": [*problem, *_missing(profile, model, store)]}


def _shipped(profile: Profile) -> dict[str, Any]:
    """Author, licence and grades of the shipped tables that a natural voice is made of."""
    from koed.engine.kokoro.shipped import AUTHOR, DEFAULT, LICENCE, SHIPPED

    if profile.reference is not None:
        return {"table": profile.reference.table}
    voice = profile.settings.get("voice", DEFAULT)
    used = [
        name for name in SHIPPED if name == voice or (isinstance(voice, dict) and name in voice)
    ]
    return {
        "made_of": [f"{name} ({SHIPPED[name].lang}, grade {SHIPPED[name].grade})" for name in used],
        "author": AUTHOR,
        "licence": LICENCE,
        "credits": [SHIPPED[name].credit for name in used if SHIPPED[name].credit],
    }


def _model(profile: Profile, store: Store) -> tuple[Model | None, list[tuple[str, str]]]:
    """The base model of a profile: the named one, or the only one."""
    name = str(profile.settings.get("model", ""))
    able = [model for model in store.scan().models if not model.problem]
    try:
        if name:
            return store.find(name), []
    except KoedError as error:
        return None, [(error.message, error.hint)]
    if len(able) == 1:
        return able[0], []
    what = "settings: {model: ...} names none, and there are several" if able else "a voice model"
    return None, [(what, "koed models list" if able else "koed models pull v2")]


def languages_of(sovits: ModelInfo) -> list[str]:
    """That a model knows the phones of."""
    from koed.engine.gpt_sovits.symbols import table

    return sorted(table("v1" if sovits.symbols == "v1" else "v2").languages)


def _missing(profile: Profile, model: Model | None, store: Store) -> Iterator[tuple[str, str]]:
    if importlib.util.find_spec("torch") is None:
        yield "the library torch", "pip install 'koed[gpt-sovits]'"
    if profile.reference is None:
        yield "a reference", "koed enroll; docs/your-voice.md"
    elif not profile.reference.transcript:
        yield "the transcript of the reference", "write what is said there: reference: transcript"
    there = {part.info.kind for part in store.scan().parts}
    for kind in needed(model.version if model else "", profile.lang):
        if kind not in there:
            yield f"the network {kind}", f"koed models pull {kind}"
    if not profile.rights:
        yield _no_rights(profile)


def needed(version: str, *languages: str) -> list[str]:
    """The shared networks with which a voice of that version is prepared and speaks."""
    wanted = ["hubert"]
    if version.startswith("v2Pro"):
        wanted.append("sv")
    return [*wanted, "bert"] if any(lang.startswith("zh") for lang in languages) else wanted


def _no_rights(profile: Profile) -> tuple[str, str]:
    return "whose voice it is, and that they agreed", f"write rights: into {profile.source}"
