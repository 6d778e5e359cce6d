"""`koed check` and `koed devices`: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import ctypes.util
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from koed.cli import gpus, references
from koed.config.daemon import Config, WorkerConfig, resolve
from koed.config.profile import Profile
from koed.config.profile_folder import ProfileFolder
from koed.engine.base import ProfileSpec
from koed.engine.host.process import environment
from koed.engine.worker.check import check_apart
from koed.errors import DeviceError, KoedError
from koed.voices.specs import spec

NEURAL = ("torch", "transformers", "safetensors", "soundfile", "soxr")
"""Without these nothing of the neural voice runs."""
REPAIR = "pip install --force-reinstall 'koed[gpt-sovits]'"
TRIAL_S = 180.0
"""A busy machine takes half a minute to load the libraries."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``good`` None: neither good nor bad, only to be known."""

    what: str
    good: bool | None
    detail: str
    hint: str = ""


def report(config: Config, as_json: bool) -> int:
    """Print every finding; 1 if anything must be mended before koed can speak."""
    findings = [*_configuration(config), *_voices(config), *_obs(config)]
    findings += [*_engines(), *_neural(config), _server()]
    return _show(findings, as_json)


def devices(config: Config, as_json: bool, remove: bool = False) -> int:
    """Print the sound server, the outputs that koed makes there, and what a koed that ended left
    there; ``remove``: take that away."""
    findings = [_server()]
    for name, output in config.outputs.items():
        findings.append(
            Finding(
                f"output {name}",
                None,
                f"sink {output.sink}, microphone {output.microphone}, "
                f"listed as {output.listed_as!r}",
            )
        )
    findings += _leftovers(remove)
    return _show(findings, as_json)


def _leftovers(remove: bool) -> list[Finding]:
    from koed.audio.recorders import who_records
    from koed.audio.sound_server import SoundServer
    from koed.audio.virtual_mic import leftovers, unload

    server = SoundServer()
    try:
        server.connect()
        found = []
        recorded = who_records(server)
        for item in leftovers(server):
            detail = f"{item.description!r} ({item.name}) of a koed that ended"
            if remove and recorded:
                why = f"{detail}: it stays, as {', '.join(recorded)} would hear another microphone"
                hint = "end that recording, or choose another microphone there, and try again"
                found.append(Finding("left there", False, why, hint))
            elif remove:
                unload(server, item)
                found.append(Finding("removed", None, detail))
            else:
                hint = "the next koed takes it over; koed devices --remove takes it away"
                found.append(Finding("left there", None, detail, hint))
        return found
    except DeviceError:
        return []  # told already
    finally:
        server.close()


def _show(findings: list[Finding], as_json: bool) -> int:
    for finding in findings:
        if as_json:
            print(json.dumps(asdict(finding), ensure_ascii=False))
            continue
        sign = {True: "ok  ", False: "FAIL", None: "    "}[finding.good]
        print(f"{sign} {finding.what:22} {finding.detail}")
        if finding.hint:
            print(f"     {'':22} -> {finding.hint}")
    return int(any(finding.good is False for finding in findings))


def _configuration(config: Config) -> Iterator[Finding]:
    yield Finding("configuration", True, config.source or "none found: the defaults are in effect")


def _voices(config: Config) -> Iterator[Finding]:
    folder = resolve(config, "profiles")
    scan = ProfileFolder(folder, outputs=tuple(config.outputs)).scan()
    yield Finding(
        "profiles",
        bool(scan.profiles),
        f"{', '.join(sorted(scan.voices)) or 'none'} in {folder}",
        "" if scan.profiles else "set profiles: in koed.yaml, see profiles/README.md",
    )
    for name, error in scan.broken.items():
        yield Finding(f"profile {name}", False, error.message, error.hint)
    yield from _settings(scan.profiles.values())
    if scan.profiles:
        for where, what, hint in references.missing(config, {*scan.profiles, *scan.broken}):
            yield Finding(where, False, what, hint)


def _settings(profiles: Iterable[Profile]) -> Iterator[Finding]:
    """Whether the engines here take what profiles say; those on other machines are not asked."""
    by_engine: dict[str, list[ProfileSpec]] = {}
    for profile in profiles:
        if profile.remote is None:
            by_engine.setdefault(profile.engine, []).append(spec(profile))
    for engine, specs in sorted(by_engine.items()):
        names = ", ".join(sorted(spec.name for spec in specs))
        found = check_apart(specs, engine)
        for name, error in found:
            yield Finding(f"profile {name or names}", False, error.message, error.hint)
        if not found:
            yield Finding(f"engine {engine}", True, f"can speak as {names}")


def _obs(config: Config) -> Iterator[Finding]:
    """Whether koed has what it shows to OBS; OBS itself need not run."""
    if not config.obs.wanted:
        return
    from koed.integrations.obs.password import password

    try:
        known = password(config) is not None
    except KoedError as error:
        yield Finding("OBS", False, error.message, error.hint)
        return
    where = f"{config.obs.host}:{config.obs.port}"
    told = "there is a password for it" if known else "without a password"
    yield Finding("OBS", None, f"looked for at {where}, {told}; see koed obs rules")


def _engines() -> Iterator[Finding]:
    flite = ctypes.util.find_library("flite")
    yield Finding(
        "English (flite)",
        True if flite else None,
        flite or "not installed: espeak-ng speaks English",
        "" if flite else "sudo apt install libflite1",
    )
    japanese = importlib.util.find_spec("pyopenjtalk") is not None
    yield Finding(
        "Japanese (OpenJTalk)",
        True if japanese else None,
        "pyopenjtalk" if japanese else "not installed: espeak-ng speaks Japanese",
        "" if japanese else "pip install 'koed[embedded]'",
    )
    espeak = shutil.which("espeak-ng")
    yield Finding(
        "other languages",
        bool(espeak),
        espeak or "espeak-ng is not installed",
        "" if espeak else "sudo apt install espeak-ng",
    )


def _neural(config: Config) -> Iterator[Finding]:
    """The neural voice is tried, and what that tells of GPUs."""
    answer: dict[str, Any] = {}
    yield _trial(config, answer)
    yield Finding("GPU", *gpus.meaning(gpus.seen(), answer))


def _trial(config: Config, answer: dict[str, Any]) -> Finding:
    """In a process that then ends: this one stays without torch. ``answer``: filled if it spoke."""
    what = "neural voice"
    missing = [name for name in NEURAL if importlib.util.find_spec(name) is None]
    if missing:
        hint = "pip install 'koed[gpt-sovits]'" if "torch" in missing else REPAIR
        detail = f"not installed: it needs {', '.join(missing)}"
        return Finding(what, None if "torch" in missing else False, detail, hint)
    command = [sys.executable, "-P", "-m", "koed.bench.engine.trial"]
    environ = environment(config.engines.get("gpt_sovits", WorkerConfig()))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TRIAL_S, check=False,
            errors="replace", env={**os.environ, **environ},
        )  # fmt: skip
        said = json.loads((done.stdout.splitlines() or [""])[-1])
    except subprocess.TimeoutExpired:
        return Finding(what, False, f"the trial did not end within {TRIAL_S:.0f} s", REPAIR)
    except ValueError:
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        return Finding(what, False, f"the trial failed: {last}", REPAIR)
    if "error" in said:
        return Finding(what, False, said["message"], said["hint"] or REPAIR)
    answer.update(said)
    return Finding(
        what,
        True,
        f"a trial spoke {answer['spoken_s']} s in {answer['took_s']} s on {answer['device']}, "
        f"torch {answer['torch']} (a toy model: no measure of speed)",
    )


def _server() -> Finding:
    from koed.audio.sound_server import SoundServer

    server = SoundServer()
    try:
        server.connect()
        return Finding("sound server", True, server.software)
    except DeviceError as error:
        return Finding(
            "sound server", None, f"{error.message}: koed runs on the null device", error.hint
        )
    finally:
        server.close()
