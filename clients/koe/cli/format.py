"""Replies and events as text for people.

Texts come from strangers in a chat: nothing that a terminal would obey is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

JOINER = "\u200d"  # not printable by itself, but emoji are made with it


LIFTED_BY = {
    "panic": "koe release lets it sound",
    "all_muted": "koe mode speak lets it sound",
    "muted": "koe unmute lets it sound",
    "paused": "koe resume lets it sound",
}
"""By why a line waits."""


def plain(value: Any) -> str:
    """``value`` as text without control characters: they are shown as escapes."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == JOINER else char.encode("unicode_escape").decode()
        for char in text
    )


def waits(held: str) -> str:
    """Why a line waits, and what lets it sound."""
    how = "in panic" if held == "panic" else plain(held)
    return f"it waits: koed is {how}; {LIFTED_BY.get(held, '')}"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# --- replies ---------------------------------------------------------------------------------


def _say(result: Mapping[str, Any]) -> Iterable[str]:
    text = f"line {result.get('utterance')}"
    if result.get("outcome"):
        yield f"{text} {result['outcome']}"
        if result.get("unheard"):
            yield f"but nobody heard it: {plain(result['unheard'])}"
        return
    if result.get("voice"):
        text += f" in voice {plain(result['voice'])}"
    if result.get("position"):
        text += f", {result['position']} before it"
    yield text + (", cut to the length allowed" if result.get("truncated") else "")
    yield from _ignored(result)
    if result.get("held"):
        yield waits(result["held"])


def _ignored(result: Mapping[str, Any]) -> Iterable[str]:
    if result.get("ignored"):
        fields = ", ".join(map(str, result["ignored"]))
        yield f"without {plain(fields)}: the engine of this voice has no such thing"


def _dropped(result: Mapping[str, Any]) -> Iterable[str]:
    dropped = result.get("dropped") or 0
    number = len(dropped) if isinstance(dropped, list) else dropped
    yield f"{_plural(number, 'line')} dropped"


def _skip(result: Mapping[str, Any]) -> Iterable[str]:
    utterance = result.get("utterance")
    yield "nothing sounds" if utterance is None else f"line {utterance} skipped"


def _voice(result: Mapping[str, Any]) -> Iterable[str]:
    previous = result.get("previous")
    changed = previous and previous != result.get("voice")
    fields = (result.get("fields") or {}).items()
    yield (
        plain(result.get("voice"))
        + (f" (before: {plain(previous)})" if changed else "")
        + ("".join(f", {plain(name)} {plain(_scalar(value))}" for name, value in fields))
    )
    yield from _ignored(result)


def _mode(result: Mapping[str, Any]) -> Iterable[str]:
    modes = result.get("modes") or {}
    if len(set(modes.values())) > 1:
        yield from (f"{plain(output)}: {plain(mode)}" for output, mode in modes.items())
        return
    previous = result.get("previous")
    changed = previous and previous != result.get("mode")
    yield plain(result.get("mode")) + (f" (before: {plain(previous)})" if changed else "")


def _voices(result: Mapping[str, Any]) -> Iterable[str]:
    rows = []
    for entry in result.get("voices") or ():
        state = "ready" if entry.get("ready") else "preparing"
        if entry.get("error"):
            state = f"broken: {entry['error']}"
        tags = ", ".join(map(str, entry.get("tags") or ()))
        if entry.get("styles"):
            tags += f"{tags and '; '}styles: {', '.join(map(str, entry['styles']))}"
        row = ["*" if entry.get("name") == result.get("current") else " "]
        row += [entry.get(name) or "" for name in ("name", "lang", "engine")]
        rows.append([plain(cell) for cell in [*row, state, tags]])
    yield from _columns(rows) if rows else ["no voices"]
    yield from _rights(result.get("voices") or ())


def _rights(voices: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Whose voices they are and what allows their use: some licences want it to be named."""
    of: dict[str, list[str]] = {}
    for entry in voices:
        if rights := plain(entry.get("rights") or ""):
            of.setdefault(rights, []).append(plain(entry.get("name")))
    for rights, names in of.items():
        yield f"{', '.join(names)}: {rights}"


def _phrases(result: Mapping[str, Any]) -> Iterable[str]:
    rows = []
    for entry in result.get("phrases") or ():
        states = [("ready in", entry.get("voices")), ("not yet in", entry.get("waiting"))]
        states += [("on disk in", entry.get("stored")), ("failed in", entry.get("failed"))]
        told = [f"{name} {', '.join(map(str, voices))}" for name, voices in states if voices]
        row = [entry.get("name"), entry.get("text") or "", "; ".join(told) or "no voice"]
        rows.append([plain(cell) for cell in row])
    yield from _columns(rows) if rows else ["no phrases; see docs/hotkeys.md"]


def _queue(result: Mapping[str, Any]) -> Iterable[str]:
    rows = []
    for state in ("speaking", "waiting"):
        for entry in result.get(state) or ():
            who = f"<{entry['author']}> " if entry.get("author") else ""
            row = [state, entry.get("utterance"), entry.get("priority") or "", entry.get("voice")]
            rows.append([plain(cell) for cell in [*row, f"{who}{entry.get('text') or ''}"]])
    yield from _columns(rows) if rows else ["nothing sounds, nothing waits"]


def _cancel(result: Mapping[str, Any]) -> Iterable[str]:
    cancelled = result.get("cancelled") or []
    lines = ", ".join(map(str, cancelled))
    yield f"cancelled: {lines}" if cancelled else "there was nothing to cancel"


def _reload(result: Mapping[str, Any]) -> Iterable[str]:
    changed = result.get("changed") or []
    restart = [plain(section) for section in result.get("restart") or ()]
    if changed or not restart:
        yield "changed: " + ", ".join(map(plain, changed)) if changed else "nothing has changed"
    for program, theirs in (("koed", False), ("koe hotkeys", True)):
        sections = [section for section in restart if (section == "hotkeys") is theirs]
        if sections:
            yield f"not before a restart of {program}: {', '.join(sections)}"
    yield from (f"error: {plain(error)}" for error in result.get("errors") or ())


def _columns(rows: list[list[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _tree(value: Any, indent: str = "") -> Iterable[str]:
    """Any map as indented ``name: value`` lines."""
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield f"{indent}{plain(name)}:"
            yield from _tree(item, indent + "  ")
        elif isinstance(item, list) and any(isinstance(entry, Mapping) for entry in item):
            yield f"{indent}{plain(name)}:"
            for entry in item:
                inner = list(_tree(entry, indent + "    ")) if isinstance(entry, Mapping) else []
                if inner:
                    inner[0] = f"{indent}  - {inner[0].lstrip()}"
                yield from inner or [f"{indent}  - {plain(entry)}"]
        else:
            yield f"{indent}{plain(name)}: {plain(_scalar(item))}"


def _scalar(item: Any) -> Any:
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, float):
        return f"{item:.3f}".rstrip("0").rstrip(".")
    if isinstance(item, list):
        return ", ".join(map(str, item)) or "-"
    return "-" if item in (None, "", {}) else item


def _status(result: Mapping[str, Any]) -> Iterable[str]:
    """Whether koed is heard, before anything else."""
    outputs = result.get("outputs") or {}
    for name, output in outputs.items():
        first = next(iter(output.get("obstacles") or ()), None)
        if first is not None:
            hint = f" ({plain(first['hint'])})" if first.get("hint") else ""
            yield f"NOT HEARD on {plain(name)}: {plain(first['message'])}{hint}"
        elif "obstacles" in output:
            yield f"heard on {plain(name)} by {plain(_scalar(output.get('recorders')))}"
    if result.get("tip"):
        yield f"tip: {plain(result['tip'])}"
    yield from _tree({name: value for name, value in result.items() if name != "tip"})


def _chat(result: Mapping[str, Any]) -> Iterable[str]:
    verdict, utterance = plain(result.get("verdict")), result.get("utterance")
    if result.get("reason"):
        verdict += f" ({plain(result['reason'])})"
    yield verdict if utterance is None else f"{verdict} as line {utterance}"


REPLIES: dict[str, Callable[[Mapping[str, Any]], Iterable[str]]] = {
    "say": _say, "phrase": _say, "phrases": _phrases,
    "stop": _dropped, "clear": _dropped, "skip": _skip, "voice": _voice,
    "mode": _mode,    "voices": _voices, "queue": _queue, "cancel": _cancel, "reload": _reload,
    "pause": lambda _: ["paused"], "resume": lambda _: ["resumed"], "mute": lambda _: ["muted"],
    "unmute": lambda _: ["unmuted"], "panic": lambda _: ["panic: silent until koe release"],
    "status": _status,
    "release": lambda _: ["released"], "chat": _chat, "chat_delete": _cancel,
}  # fmt: skip


def reply(command: str, result: Mapping[str, Any]) -> list[str]:
    """The lines that tell the result of a command."""
    render = REPLIES.get(command)
    return list(_tree(result) if render is None else render(result))


# --- events ----------------------------------------------------------------------------------

EVENTS: dict[str, str] = {
    "utterance.queued": "line {utterance} in voice {voice}: {who}{text}",
    "utterance.started": "line {utterance} in voice {voice}: {who}{text}",
    "utterance.progress": "line {utterance}: {text}",
    "utterance.finished": "line {utterance} after {spoken_s:.1f} s",
    "utterance.skipped": "line {utterance} ({reason}); heard: {heard}",
    "utterance.dropped": "line {utterance} ({reason})",
    "utterance.failed": "line {utterance}: {message} ({code})",
    "chat.line": "{verdict} {reason}: {who}{text}",
    "voice.changed": "{previous} -> {voice} ({when})",
    "voice.fields": "{voice}: {fields} ({when})",
    "mode.changed": "{previous} -> {mode} by {by}",
    "voice.ready": "{voice}",
    "voice.broken": "{voice}: {message} ({code})",
    "phrase.ready": "{phrase} in voice {voice}, {seconds:.1f} s",
    "engine.down": "{engine}: {message} ({code}); again in {retry_s:.1f} s",
    "engine.up": "{engine} after {ready_s:.1f} s",
    "engine.retry": "line {utterance}: {voice} tries again ({code}) {message}",
    "engine.fallback": "line {utterance}: {fallback} instead of {voice} ({reason})",
    "device.lost": "{output}: {message} ({code})",
    "device.back": "{output} on {device} after {lost_s:.1f} s",
    "obs.up": "OBS {obs}, scene {scene}",
    "obs.down": "{message} ({code}) {hint}",
    "obs.scene": "{scene} (rule: {rule}; voice: {voice}; mode: {mode})",
    "obs.hears": "{hears}: {captures}",
    "mouth": "{output}: mouth {open:.2f} {shape}",
    "levels": "{output}: {rms_db:.1f} dB, peak {peak_db:.1f} dB",
    "state": "{state} {detail}",
    "trouble": "{message} ({code}) {hint}",
}


HEAD = ("event", "seq", "t", "boot")
"""What all events have."""


def event(message: Mapping[str, Any]) -> str:
    """One line for an event; what this client does not know is shown as it came."""
    name = str(message.get("event"))
    author = message.get("author")
    values = {"who": f"<{author}> " if author else ""} | dict(message)
    try:
        text = EVENTS[name].format_map(values)
    except (KeyError, ValueError, TypeError):
        rest = (item for item in message.items() if item[0] not in HEAD)
        text = ", ".join(f"{key}: {value}" for key, value in rest)
    output = message.get("output")
    where = f" [{output}]" if output not in (None, "main") and "{output}" not in text else ""
    return plain(f"{name:<20} {text.rstrip()}{where}")
