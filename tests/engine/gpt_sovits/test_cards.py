"""Which device speaks and in which number formats, for cards that are not here."""

from __future__ import annotations

import pytest
import torch

from koed.engine.gpt_sovits import cards
from koed.engine.gpt_sovits.cards import EXACT, Card, Found, choose, formats, has_kernels
from koed.errors import EngineError

GB = 1 << 30
NEW_BUILD = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")


def card(name: str, capability: tuple[int, int], gb: float = 8, index: int = 0) -> Card:
    return Card(index, f"NVIDIA {name}", capability, int(gb * GB))


PASCAL, VOLTA = card("GeForce GTX 1080", (6, 1)), card("TITAN V", (7, 0), 12)
CHEAP, TURING = card("GeForce GTX 1660 SUPER", (7, 5), 6), card("GeForce RTX 2060", (7, 5), 6)
ADA = card("GeForce RTX 4070", (8, 9), 12)


@pytest.mark.parametrize(
    ("there", "automatic"),
    [
        (card("GeForce GTX 980", (5, 2)), EXACT),
        (PASCAL, EXACT),
        (card("Tesla P100", (6, 0)), EXACT),
        (VOLTA, ("fp16", torch.float16)),
        (CHEAP, EXACT),
        (TURING, ("fp16", torch.float16)),
        (card("GeForce RTX 3060", (8, 6)), ("fp16", torch.bfloat16)),
        (ADA, ("fp16", torch.bfloat16)),
        (card("H200", (9, 0)), ("fp16", torch.bfloat16)),
        (card("GeForce RTX 5090", (12, 0)), ("fp16", torch.bfloat16)),
        (None, EXACT),
    ],
)
def test_precision_goes_by_capability(there: Card | None, automatic: cards.Formats) -> None:
    assert formats(there, "auto") == automatic
    assert formats(there, "fp32") == EXACT


def test_what_is_asked_for_is_done_or_refused() -> None:
    assert formats(CHEAP, "fp16") == ("fp16", torch.float16)
    assert formats(None, "bf16") == ("fp16", torch.bfloat16)
    with pytest.raises(EngineError) as caught:
        formats(ADA, "int8")
    assert caught.value.code == "bad_setting"
    assert cards.told(formats(ADA, "auto")) == "fp16 and bfloat16"


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((6, 1), NEW_BUILD, False),
        ((7, 0), NEW_BUILD, False),
        ((7, 5), NEW_BUILD, True),
        ((8, 9), NEW_BUILD, True),  # as sm_86
        ((8, 0), ("sm_86",), False),
        ((12, 1), NEW_BUILD, True),
        ((12, 0), ("sm_90", "compute_90"), True),  # compiled when it is loaded
        ((8, 6), ("compute_90",), False),
        ((9, 0), ("sm_90a",), True),
        ((10, 3), ("sm_100f",), True),
        ((10, 3), ("sm_100a",), False),
        ((11, 0), ("gfx1100",), True),
    ],
)
def test_kernels_run_on_what_they_are_made_for(
    capability: tuple[int, int], built_for: tuple[str, ...], runs: bool
) -> None:
    assert has_kernels(card("card", capability), built_for) == runs


def chosen(setting: str, *there: Card, free_gb: float = 5.0, without: str = "") -> tuple[str, str]:
    found = Found(there, NEW_BUILD if there else (), without)
    choice = choose(setting, found, lambda card: int(free_gb * GB))
    return str(choice.device), choice.why


def test_the_best_card_that_works_is_taken() -> None:
    first, second = card("RTX 2080 Ti", (7, 5), 11, 0), card("RTX 4070", (8, 9), 12, 1)
    assert chosen("auto", first, second) == ("cuda:1", "")
    assert chosen("cuda", first, second) == ("cuda:1", "")
    assert chosen("cuda:0", first, second) == ("cuda:0", "")
    assert chosen("cpu", first, second) == ("cpu", "")
    old = card("GTX 1080 Ti", (6, 1), 11, 1)
    assert chosen("auto", card("GTX 1660", (7, 5), 6, 0), old) == ("cuda:0", "")


def test_only_a_card_that_may_be_taken_is_asked_what_is_free() -> None:
    asked: list[Card] = []

    def free(card: Card) -> int:
        asked.append(card)
        return 5 * GB

    other = card("RTX 3090", (8, 6), 24, 1)
    choose("auto", Found((PASCAL, other), NEW_BUILD), free)
    assert asked == [other]


def test_the_processor_takes_over_and_one_sentence_says_why() -> None:
    for setting, there, free_gb, without, words in (
        ("auto", (PASCAL,), 5.0, "", ("GTX 1080", "no kernels", "sm_75", "on the processor")),
        ("auto", (ADA,), 0.5, "", ("RTX 4070", "512 MB free", "on the processor")),
        ("cuda:2", (ADA,), 5.0, "", ("no cuda:2", "cuda:0 (NVIDIA GeForce RTX 4070)")),
        ("cuda", (), 5.0, "", ("there is no GPU", "on the processor")),
        ("auto", (), 5.0, "the driver is too old", ("the driver is too old", "processor")),
    ):
        device, why = chosen(setting, *there, free_gb=free_gb, without=without)
        assert device == "cpu"
        assert all(word in why for word in words), why
        assert "\n" not in why
    assert chosen("auto") == ("cpu", ""), "who has no GPU expects nothing else"


@pytest.mark.parametrize("setting", ["", "gpu", "cuda:", "cuda:-1", "cuda:1000", "CPU", "cpu\n"])
def test_another_setting_is_refused(setting: str) -> None:
    with pytest.raises(EngineError) as caught:
        choose(setting, Found(), lambda card: 0)
    assert caught.value.code == "bad_setting"


def test_what_torch_says_here_is_understood() -> None:
    here = cards.here("auto")
    assert here.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert cards.here("cpu").card is None
