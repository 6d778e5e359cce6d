"""`koed obs`: what koed needs in OBS, made there or taken away again; what scenes do."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from koed.config.daemon import Config
from koed.errors import KoedError
from koed.integrations.obs import preview, setup
from koed.integrations.obs.captures import NO_SERVER
from koed.integrations.obs.link import Link
from koed.integrations.obs.password import password

PATIENCE_S = 10.0
"""For OBS's answers: it may be busy, and nothing else waits for this command."""


def run(config: Config, args: argparse.Namespace) -> int:
    return {"setup": set_up, "rules": show_rules}[args.action](config, args)


def connect(config: Config) -> Link:
    """To the OBS of the configuration. Raises `KoedError`."""
    place = (config.obs.host, config.obs.port)
    return Link(*place, password(config), timeout_s=PATIENCE_S).open(PATIENCE_S)


def show_rules(config: Config, args: argparse.Namespace) -> int:
    with connect(config) as obs:
        return preview.show(config, obs, args.json)


def set_up(config: Config, args: argparse.Namespace) -> int:
    """Plan, show, ask, do. 0 = all is as it should be; 1 = something was not done."""
    with connect(config) as obs:
        studio = setup.look(obs)
        if args.remove:
            steps = setup.plan_removal(studio)
        else:
            microphones = {name: output.microphone for name, output in config.outputs.items()}
            wanted = setup.wishes(microphones, config.obs.captions, config.obs.setup, studio)
            steps = setup.plan(studio, wanted, _scenes(config, args, studio))
        _show(args, config, steps)
        if not _consent(args, steps):
            return _end(args, obs, steps, done=[])
        done: list[setup.Step] = []
        try:
            setup.apply(obs, steps, lambda step: _did(args, done, step))
        except KoedError:
            _say(args, f"this was done: {', '.join(step.name for step in done) or 'nothing'}")
            raise
        return _end(args, obs, steps, done)


def _scenes(config: Config, args: argparse.Namespace, studio: setup.Studio) -> list[str]:
    if args.all_scenes:
        return list(studio.items)
    named: list[str] = args.scene or [config.obs.setup.scene or studio.current]
    return list(dict.fromkeys(named))


def _show(args: argparse.Namespace, config: Config, steps: Sequence[setup.Step]) -> None:
    if not steps:
        _say(args, "nothing of koed's is there" if args.remove else "nothing is wanted")
    for step in steps:
        where = f", in {step.scene!r}" if step.scene else ""
        _say(args, f"{step.action:8}{step.name!r}: {step.text}{where}")
        if step.hint:
            _say(args, f"{'':8}-> {step.hint}")
    if not args.remove and not config.obs.captions:
        _say(args, "no captions are configured; for some, koed.yaml: obs: {captions: {main: {}}}")


def _consent(args: argparse.Namespace, steps: Sequence[setup.Step]) -> bool:
    """Whether to do it; says why not."""
    if any(step.action == "cannot" for step in steps):
        _say(args, "nothing was done: first mend what cannot be done")
        return False
    if not any(step.changes for step in steps):
        return False
    if args.dry_run:
        _say(args, "nothing was done (--dry-run)")
        return False
    if args.yes:
        return True
    if args.json or not sys.stdin.isatty():
        _say(args, "nothing was done: nobody was asked; add --yes to do it")
        return False
    answer = input("Do this in OBS? [y/N] ").strip().lower()
    if answer not in ("y", "yes", "j", "ja"):
        _say(args, "nothing was done")
        return False
    return True


def _did(args: argparse.Namespace, done: list[setup.Step], step: setup.Step) -> None:
    done.append(step)
    _say(args, f"done: {step.action} {step.name!r}")


def _end(
    args: argparse.Namespace, obs: Link, steps: Sequence[setup.Step], done: list[setup.Step]
) -> int:
    """Exit code, and the JSON of it all."""
    changes = [step for step in steps if step.changes]
    good = len(done) == len(changes) and not any(step.action == "cannot" for step in steps)
    deaf = {} if args.remove or not good else _deaf(obs, steps)
    for name, why in deaf.items():
        _say(args, f"{name!r} hears nothing yet: {why}")
    if args.json:
        report: dict[str, Any] = {
            "steps": [_plain(step) for step in steps],
            "done": len(done),
            "deaf": list(deaf),
            "good": good,
        }
        print(json.dumps(report, ensure_ascii=False))
    refused = any(step.action == "cannot" for step in steps)
    return 0 if good or (args.dry_run and not refused) else 1


def _deaf(obs: Link, steps: Sequence[setup.Step]) -> dict[str, str]:
    """Audio captures whose microphone is not there at this moment, and what is said of them."""
    wishes = {
        (step.name if step.action == "keep" else step.wish.name): step.wish
        for step in steps
        if step.wish and step.wish.device
    }
    found = {}
    for name, wish in sorted(wishes.items()):
        devices = setup.devices(obs, name)
        if not devices:
            found[name] = "; ".join(NO_SERVER)
        elif wish.device not in devices:
            found[name] = "its device appears as soon as koed runs"
    return found


def _plain(step: setup.Step) -> dict[str, str]:
    values = dataclasses.asdict(step)
    return {key: values[key] for key in ("action", "name", "scene", "text", "hint")}


def _say(args: argparse.Namespace, text: str) -> None:
    """For people; with --json on standard error, so that standard output is one line."""
    print(text, file=sys.stderr if args.json else sys.stdout, flush=True)
