"""Phones and cuts of the text front end against the recorded ones, sentence by sentence.

Ids must be equal. Sentences that koed reads otherwise on purpose, or because no rule can know what
the recording's language detector guessed, are named with their reasons in `DEVIATIONS`; these are
printed and allowed to differ.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from koed.engine.gpt_sovits.symbols import Version, symbols, table
from koed.errors import EngineError
from koed.g2p import Reading, phones
from tests.parity.case import Case, Result
from tools.parity.official_cut import CUTS, collapse_ascii, cut, pre_segment

VERSIONS: tuple[Version, ...] = ("v1", "v2")

_DETECTOR = "the recording's language detector took a short Chinese piece for Japanese"
DEVIATIONS = {
    "今天我们学习English单词，明天学习日本語。": _DETECTOR,
    "ThinkPad T60刚刚发布，售价1999元。": _DETECTOR,
}


def cases(folder: Path) -> Iterator[Case]:
    """Symbol lists, then sentences by version, then cuts."""
    for path in sorted((folder / "symbols").glob("*.json")):
        yield Case(f"text/{path.stem}", functools.partial(_symbols, path))
    for number, item in enumerate(_items(folder / "text" / "phones.json")):
        for version in VERSIONS:
            if version in item:
                name = f"text/{version}_{item['lang']}_{number}"
                yield Case(name, functools.partial(_phones, item, version))
    for number, item in enumerate(_items(folder / "text" / "cuts.json")):
        yield Case(f"text/cut_{number}", functools.partial(_cuts, item))


def differences(item: dict[str, Any], version: Version) -> list[str]:
    """What differs between our phones and the recorded ones; empty if the ids are equal."""
    want = item[version]
    try:
        got = phones(item["text"], item["lang"], table(version), official_quirks=True)
    except EngineError as error:
        return [f"refused: {error}"]
    if list(got.ids) == want["ids"] and _word2ph_equal(got, want):
        return []
    pieces = [piece for piece in want["pieces"] if piece["phones"]]
    return [
        f"{item['lang']} {item['text']!r}",
        f"want {' | '.join(' '.join(piece['phones']) for piece in pieces)}",
        f"got  {' | '.join(' '.join(piece.phones) for piece in got.pieces)}",
    ]


def _word2ph_equal(got: Reading, want: dict[str, Any]) -> bool:
    """A piece that was redone with a "." before it is recorded twice: the last ones count."""
    recorded = want["pieces"][-len(got.pieces) :]
    return all(
        (list(piece.word2ph) if piece.word2ph else None) == (other.get("word2ph") or None)
        for piece, other in zip(got.pieces, recorded, strict=False)
    )


def _phones(item: dict[str, Any], version: Version) -> Result:
    result = Result()
    reasons = differences(item, version)
    allowed = DEVIATIONS.get(item["text"])
    if reasons and allowed:
        print(f"differs: {item['text']} ({allowed})")
    elif reasons:
        result.failed = reasons
    result.worst["ids"] = float(bool(reasons) and not allowed)
    return result


def _symbols(path: Path) -> Result:
    result = Result()
    want = json.loads(path.read_text("utf-8"))["symbols"]
    result.exact("symbols", list(symbols("v1" if path.stem.endswith("v1") else "v2")), want)
    return result


def _cuts(item: dict[str, Any]) -> Result:
    result = Result()
    for method in CUTS:
        start = item["text"][:20]
        _equal(result, f"{method} of {start!r}", _raw(item, method), item["cut"][method])
        want = item["pre_seg_text"][method]
        _equal(result, f"segments by {method} of {start!r}", _segments(item, method), want)
    _equal(result, "collapsed marks", collapse_ascii(item["text"]), item["preprocess_punct"])
    result.worst["cuts"] = float(bool(result.failed))
    return result


def _raw(item: dict[str, Any], method: str) -> str:
    return cut(item["text"].strip("\n"), method)


def _segments(item: dict[str, Any], method: str) -> list[str] | dict[str, str]:
    try:
        return pre_segment(item["text"], item["lang"], method)
    except EngineError:
        return {"error": "ValueError('Please enter valid text.')"}


def _equal(result: Result, what: str, got: object, want: object) -> None:
    if got != want:
        result.failed.append(f"{what}: {got!r} instead of {want!r}")


def _items(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    items: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["items"]
    return items
