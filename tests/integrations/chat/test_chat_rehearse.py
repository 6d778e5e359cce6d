"""A rehearsal decides as the daemon does: the same policy, the same queue, a counted clock."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from koe.chat import logs, record
from koe.chat.sources import Cutter, StandardInput
from koe.wire.framing import WireError
from koed.cli import commands as cli
from koed.config import daemon as config
from koed.config.chat import ViewerVoicesConfig
from koed.errors import ConfigError, KoedError
from koed.integrations.chat import viewers as viewer_file
from koed.integrations.chat.viewers import Viewers

LONG = "a sentence of so many words that to say them all takes the voice about five good seconds"


def rehearse(
    tmp_path: Path, capsys: Any, lines: list[Any], settings: dict[str, Any] | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any], int]:
    """``(rows, sums, exit code)``."""
    log, path = tmp_path / "log.jsonl", tmp_path / "koed.yaml"
    log.write_bytes(
        b"\n".join(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines)
    )
    path.write_text(yaml.safe_dump({"voice": "hana"} | (settings or {})))
    code = cli.main(["rehearse", str(log), "--config", str(path), "--json"])
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return told[:-1], told[-1]["summary"], code


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def fates(rows: list[dict[str, Any]]) -> list[str]:
    return [row["verdict"] + (f" {row['reason']}" if row["reason"] else "") for row in rows]


def test_what_is_said_cut_merged_and_dropped(tmp_path: Path, capsys: Any) -> None:
    rows, sums, code = rehearse(
        tmp_path,
        capsys,
        [
            {"at": "2026-03-01T20:00:00Z", "author": "ann", "text": LONG, "id": 1},
            {"at": "2026-03-01T20:00:01Z", "author": "bob", "text": f"{LONG}!", "id": 2},
            {"at": "2026-03-01T20:00:01Z", "author": "eve", "text": "rude words", "id": 3},
            {"at": "2026-03-01T20:00:02Z", "delete": "3"},
            {"at": "2026-03-01T20:00:02Z", "author": "rich", "text": "me", "donation": 5, "id": 4},
            {"at": "2026-03-01T20:00:03Z", "delete": "1"},
            {"at": "2026-03-01T20:00:04Z", "delete": "2"},
            b"{broken",
            {"at": "2026-03-01T20:00:09Z", "author": "nightbot", "text": "buy"},
            {"at": "2026-03-01T20:00:08Z", "author": "zoe", "text": "back in time", "id": 5},
        ],
    )
    assert fates(rows) == [
        "cut cancel", "merged repeat", "dropped cancel", "deletion 1 silenced", "said", "deletion",
        "deletion 1 silenced", "error bad_json", "dropped bot", "said",
    ]  # fmt: skip
    assert [row["line"] for row in rows] == list(range(1, 11))
    assert (rows[0]["begins_s"], rows[0]["ends_s"]) == (0, 4)
    assert rows[4]["begins_s"] == 4
    assert rows[9]["at_s"] == 9
    assert sums["verdicts"]["said"] == 2
    assert code == 1


def test_the_queue_drops_expires_and_interrupts_as_on_air(tmp_path: Path, capsys: Any) -> None:
    lines: list[Any] = [{"at": 0, "author": "a", "text": LONG}]
    lines += [
        {"at": 0.1 + n / 100, "author": f"u{n}", "text": f"line number {n}"} for n in range(4)
    ]
    lines += [{"at": 2, "author": "rich", "text": "first", "donation": 9}]
    settings = {
        "queue": {"max_chatter": 3, "chatter_ttl_s": 4.0},
        "chat": {"names": {"say": False}, "donations": {"priority": "urgent"}},
    }
    rows, _, code = rehearse(tmp_path, capsys, lines, settings)
    assert fates(rows)[0] == "cut urgent"
    assert fates(rows)[1] == "dropped queue_full"
    assert rows[5]["begins_s"] == 2
    assert {"said", "dropped expired"} == set(fates(rows)[2:5])
    assert code == 0


def test_voices_of_viewers_are_those_of_tonight(tmp_path: Path, capsys: Any) -> None:
    lines = [{"at": n, "author": f"u{n}", "text": f"hi {n}"} for n in range(8)]
    settings = {"chat": {"voices": {"mode": "derived", "among": ["ken", "rin"],
                                    "assigned": {"U1": "hana"}}}}  # fmt: skip
    rows, sums, _ = rehearse(tmp_path, capsys, lines, settings)
    assert rows[1]["voice"] == "hana"
    assert {row["voice"] for row in rows} == {"hana", "ken", "rin"}
    assert sums["voices"]["hana"] == 1


def test_a_recording_of_events_is_a_log(tmp_path: Path, capsys: Any) -> None:
    event = {"event": "chat.line", "seq": 4, "t": 812.5, "verdict": "dropped", "author": "ann",
             "text": "good evening", "reason": "raid", "name": None, "platform": "twitch",
             "line": "1", "utterance": None, "voice": None, "kind": "message", "roles": ["sub"],
             "donation": None, "currency": None}  # fmt: skip
    rows, _, code = rehearse(tmp_path, capsys, [event])
    assert (fates(rows), code) == (["said"], 0)


def test_koe_runs_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('{"author": "ann", "text": "hi \\u001b[2J"}\n' * 3)
    koe = [sys.executable, "-m", "koe.cli", "chat", "rehearse", str(log)]
    done = subprocess.run(
        koe, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "merged: repeat" in done.stdout
    assert "\x1b" not in done.stdout


def test_logs_that_are_none(tmp_path: Path, capsys: Any) -> None:
    log = tmp_path / "log"
    for text, code in (("hello\n", "unknown_log"), (None, "cannot_read")):
        log.write_text(text) if text else log.unlink()
        assert cli.main(["rehearse", str(log), "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["error"] == code
    with pytest.raises(WireError, match="no chat log"):
        list(logs.read(io.BytesIO(b"\x89PNG\r\n")))


# --- lines in --------------------------------------------------------------------------------


def test_lines_are_cut_whole_in_bounded_memory() -> None:
    cutter = Cutter()
    pieces = [b"a\nb", b"b\n", b"x" * 70_000, b"x" * 9_000_000, b"tail\nafter", b"\n"]
    lines = [line for piece in pieces for line in cutter.feed(piece)]
    assert [line[:5] for line in lines] == [b"a", b"bb", b"xxxxx", b"after"]
    assert len(lines[2]) == record.MAX_LINE_BYTES + 1
    assert cutter.end() == b""


def test_the_last_line_needs_no_end() -> None:
    read, write = os.pipe()
    os.write(write, b"one\ntwo")
    os.close(write)
    source = StandardInput(read)
    assert [source.read(), source.read(), source.read()] == [[b"one"], [b"two"], None]
    os.close(read)


def test_a_time_that_is_none() -> None:
    for at in ("soon", True, [], 1e999):
        with pytest.raises(WireError) as error:
            record.parse(json.dumps({"author": "a", "text": "b", "at": at}))
        assert "time" in error.value.message


# --- what is remembered, and what is configured ----------------------------------------------


def test_voices_of_viewers_survive_a_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "state" / "viewers.json"
    viewers = Viewers(ViewerVoicesConfig(mode="sticky"))
    viewer_file.load(viewers, path)  # none yet
    viewers.voice("t", "ann", {"hana": "en"})
    viewer_file.save(viewers, path)
    assert not viewers.changed
    assert [p.name for p in path.parent.iterdir()] == ["viewers.json"]
    for text in ("", "[]", '{"viewers": [1]}', "{" * 99_999, "\udcff"):
        path.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(KoedError) as error:
            viewer_file.load(viewers, path)
        assert error.value.code == "bad_viewers"
    path.unlink()
    path.mkdir()
    with pytest.raises(KoedError):
        viewer_file.save(viewers, path)
    assert [p.name for p in path.parent.iterdir()] == ["viewers.json"]


@pytest.mark.parametrize(
    ("chat", "problem"),
    [
        ({"read": "subz"}, "chat.read"),
        ({"names": {"templates": {"en": "{nam} says {text}"}}}, "chat.names.templates.en"),
        ({"names": {"templates": {"en": "{name.__class__}"}}}, "chat.names.templates.en"),
        ({"announce": {"sub": "{"}}, "chat.announce.sub"),
        ({"repeats": {"count_mark": "{x}"}}, "chat.repeats.count_mark"),
        ({"rate": {"lines": -1}}, "chat.rate.lines"),
        ({"exempt": ["moderator"]}, "chat.exempt"),
        ({"voices": {"assigned": {"bob": "../x"}}}, "chat.voices.assigned.bob"),
    ],
)
def test_what_is_wrong_in_the_configuration_is_named(
    tmp_path: Path, chat: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "koed.yaml"
    path.write_text(yaml.safe_dump({"chat": chat}))
    with pytest.raises(ConfigError, match=problem.replace(".", r"\.")):
        config.load(path)


def test_the_whole_configuration_reads_itself(tmp_path: Path) -> None:
    path = tmp_path / "koed.yaml"
    path.write_text(config.dump(config.Config()))
    assert config.load(path).chat == config.Config().chat
