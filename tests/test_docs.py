"""The documents: links lead somewhere, and the sample configuration of a whole stream holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from koe.hotkeys import bindings
from koe.hotkeys.file import read
from koed.config.daemon import load

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLE = REPOSITORY / "docs" / "stream.yaml"
PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("*/README.md")]
SOURCES = [
    path
    for folder in ("daemon", "clients", "tools", "tests", "scripts")
    for path in (REPOSITORY / folder).rglob("*.py")
    if "node_modules" not in path.parts
]
OF_EXAMPLES = ["/koed_morse.py"]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    broken = [link for link in local if not (page.parent / link).exists()]
    assert not broken


def test_every_page_of_docs_is_linked_from_somewhere() -> None:
    linked = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in LINK.findall(page.read_text(encoding="utf-8"))
    }
    alone = [page.name for page in REPOSITORY.glob("docs/*") if page.resolve() not in linked]
    assert alone in ([], ["pictures"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_python_files_that_a_page_names_are_there(page: Path) -> None:
    if page.name == "CHANGELOG.md":  # it tells of what was
        return
    named = set(re.findall(r"(?<![\w/])[a-z_][\w/]*\.py\b", page.read_text(encoding="utf-8")))
    there = [f"/{path.relative_to(REPOSITORY)}" for path in SOURCES] + OF_EXAMPLES
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in there)] == []


def test_the_way_of_a_line_leads_past_files_that_there_are() -> None:
    text = (REPOSITORY / "docs" / "how-a-line-goes.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_/]+(?:\.py|/))`", text))
    assert len(named) > 20
    roots = (REPOSITORY / "daemon" / "koed", REPOSITORY)
    assert [each for each in named if not any((root / each).exists() for root in roots)] == []


def test_the_sample_of_a_whole_stream_names_what_there_is() -> None:
    config = load(SAMPLE)
    voices = {path.stem for path in (REPOSITORY / "profiles").glob("*.yaml")}
    rules = [*config.obs.scenes.values(), config.obs.otherwise]
    named = {config.voice, *config.obs.voices, *config.chat.voices.among}
    named |= {rule.voice for rule in rules if rule is not None and rule.voice}
    assert named <= voices
    assert len(config.obs.scenes) == 3
    assert len(config.obs.voices) == 4

    keys = read(SAMPLE)
    assert keys.problems == ()
    said = {b.action.argument for b in keys.bindings if b.action.verb == "phrase"}
    assert said <= set(config.phrases)
    assert {b.action.argument for b in keys.bindings if b.action.verb == "voice"} <= voices
    assert {b.action.verb for b in keys.bindings} >= {"panic", "release", "clipboard", "mute"}
    assert all(b.action.verb in bindings.ARGUMENTS for b in keys.bindings)


def test_the_readme_is_short_and_tells_the_sizes() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 140
    assert [row for row in text.splitlines() if row.startswith("|") and len(row) > 160] == []
    told = re.search(r"Product ([\d,]+) lines of Python, tests ([\d,]+), tools ([\d,]+)\.", text)
    assert told is not None
    for folders, figure in zip(("daemon clients", "tests", "tools"), told.groups(), strict=True):
        roots = [REPOSITORY / folder for folder in folders.split()]
        files = [path for path in SOURCES if any(root in path.parents for root in roots)]
        lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
        assert int(figure.replace(",", "")) == pytest.approx(lines, rel=0.1), folders
