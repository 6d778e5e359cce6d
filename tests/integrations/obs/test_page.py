"""The page on OBS: its examples are configurations, its pictures are there and small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from koed.config.daemon import load

PAGE = Path(__file__).parents[3] / "docs" / "obs.md"
EXAMPLES = re.findall(r"^( *)```yaml\n(.*?)^ *```", PAGE.read_text(), re.M | re.S)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_of_the_page_are_configurations(number: int, tmp_path: Path) -> None:
    indent, text = EXAMPLES[number]
    path = tmp_path / "koed.yaml"
    path.write_text("".join(line.removeprefix(indent) for line in text.splitlines(True)))
    assert load(path).obs.wanted


def test_pictures_of_the_page() -> None:
    named = re.findall(r"\]\((pictures/[\w-]+\.png)\)", PAGE.read_text())
    assert len(named) == 3
    for name in named:
        assert 0 < (PAGE.parent / name).stat().st_size <= 150_000, name
