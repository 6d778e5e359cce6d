"""What is measured with the tools of a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from koed.bench import checkout
from koed.errors import KoedError


def test_without_a_checkout_it_is_said_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    for ask in (checkout.run, checkout.measure):
        with pytest.raises(KoedError, match="only a checkout") as refused:
            ask("air")
        assert refused.value.code == "no_checkout"


def test_a_tool_that_fails_is_no_figure(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KoedError, match="could not be measured"):
        checkout.measure("air", "no such part")
    assert "no such part" in capfd.readouterr().err
