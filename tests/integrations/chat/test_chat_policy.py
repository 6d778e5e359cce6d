"""The policy is pure: lines and times in, verdicts out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koe.protocol import Chat, ChatDelete
from koed.config.chat import (
    ChatConfig,
    DonationsConfig,
    NamesConfig,
    RaidConfig,
    RateConfig,
    RepeatsConfig,
    ViewerVoicesConfig,
)
from koed.config.daemon import TextConfig
from koed.integrations.chat import pace, policy
from koed.integrations.chat.names import spoken_name
from koed.integrations.chat.policy import Policy, Scene, Verdict
from koed.integrations.chat.viewers import Viewers

LIMITLESS = ChatConfig(
    bots=(),
    commands=(),
    rate=RateConfig(lines=0),
    repeats=RepeatsConfig(window_s=0),
    raid=RaidConfig(over_per_s=0),
    max_s=0,
    names=NamesConfig(say=False),
    announce={},
)
LANGS = {"hana": "en", "ken": "en", "rin": "ja"}


def judge(config: ChatConfig = LIMITLESS, **text: Any) -> Policy:
    found = Policy(config, TextConfig(**text))
    found.scene = Scene("hana", LANGS, "main")
    return found


def line(text: str = "hello", author: str = "bob", **rest: Any) -> Chat:
    return Chat(text=text, author=author, platform="twitch", **rest)


def outcome(verdict: Verdict) -> str:
    return verdict.reason or verdict.action


def outcomes(config: ChatConfig, *lines: tuple[float, Chat]) -> list[str]:
    judging = judge(config)
    return [outcome(judging.decide(chat, at)) for at, chat in lines]


# --- who is read -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "roles", "expected"),
    [
        ("everyone", [], "say"),
        ("subs", [], "not_a_reader"),
        ("subs", ["first"], "not_a_reader"),
        ("subs", ["sub"], "say"),
        ("subs", ["mod"], "say"),
        ("vips", ["sub"], "not_a_reader"),
        ("mods", ["vip"], "not_a_reader"),
        ("mods", ["broadcaster"], "say"),
        ("listed", ["broadcaster"], "not_a_reader"),
    ],
)
def test_readers(read: Any, roles: list[str], expected: str) -> None:
    assert outcomes(replace(LIMITLESS, read=read), (0, line(roles=roles))) == [expected]


def test_allow_block_and_bots_know_names_and_platforms() -> None:
    config = replace(
        LIMITLESS, read="mods", allow=("Ann", "youtube:cid"), block=("twitch:EVE",),
        bots=("NightBot",),
    )  # fmt: skip
    assert outcomes(
        config,
        (0, line(author="ANN")),
        (1, line(author="cid")),
        (2, Chat(text="x y", author="Cid", platform="YouTube")),
        (3, line(author="eve", roles=["mod"])),
        (4, Chat(text="a b", author="eve", platform="youtube", roles=["mod"])),
        (5, line(author="nightbot", roles=["mod"])),
        (6, line(author="robo", roles=["mod", "bot"])),
    ) == ["say", "not_a_reader", "say", "blocked", "say", "bot", "bot"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("!play x", "command"), ("  !x", "command"), ("!!! wow", "say"), ("hi !play", "say"),
     ("！", "nothing_to_say"), ("", "nothing_to_say"), ("\u202e\x00\x1b[2J", "say")],
)  # fmt: skip
def test_commands(text: str, expected: str) -> None:
    assert outcomes(replace(LIMITLESS, commands=("!",)), (0, line(text))) == [expected]


def test_a_muted_chat_is_muted_for_its_output_only() -> None:
    judging = judge()
    judging.scene = replace(judging.scene, muted=frozenset({"main"}))
    assert judging.decide(line(donation=50.0), 0).reason == "chat_muted"
    assert judging.decide(line(output="side"), 0).action == "say"


# --- how much --------------------------------------------------------------------------------


def test_the_rate_of_an_author_is_a_sliding_window() -> None:
    config = replace(LIMITLESS, rate=RateConfig(lines=2, window_s=10), exempt=("mod",))
    judging = judge(config)
    said = [outcome(judging.decide(line(f"line {at}"), at)) for at in (0, 6, 9, 9.9, 10, 12, 16)]
    assert said == ["say", "say", "rate", "rate", "say", "rate", "say"]
    assert outcome(judging.decide(line("other", "ann"), 16)) == "say"
    assert outcome(judging.decide(line("mine", roles=["mod"]), 16)) == "say"


def test_repeats_are_spoken_once_and_counted() -> None:
    judging = judge(replace(LIMITLESS, repeats=RepeatsConfig(window_s=10)))
    first = judging.decide(line("Pog, champ!", "a"), 0)
    copies = [judging.decide(line(text, "b"), 1) for text in ("pog champ", "POGCHAMP", "pog")]
    assert [v.action for v in copies] == ["merge", "merge", "say"]
    assert [v.ticket for v in copies[:2]] == [first.ticket, first.ticket]
    assert copies[1].copies == 3
    assert judging.decide(line("pog champ", "c"), 10).action == "say"
    assert judging.decide(line("😂", "c"), 10).action == "say"
    assert judging.decide(line("🔥", "c"), 10).action == "say"


def test_a_line_that_came_to_nothing_makes_room_for_its_copy() -> None:
    judging = judge(replace(LIMITLESS, repeats=RepeatsConfig(window_s=10)))
    first = judging.decide(line("gg", "a"), 0)
    judging.release(first.ticket)
    second = judging.decide(line("gg", "b"), 1)
    assert second.action == "say"
    judging.release(first.ticket)  # long over: nothing of the second one
    assert judging.decide(line("gg", "c"), 2).ticket == second.ticket


def test_of_a_raid_every_kth_line_is_read_and_it_ends() -> None:
    config = replace(LIMITLESS, raid=RaidConfig(over_per_s=10, calm_s=3, every=5))
    judging = judge(config)
    said = [outcome(judging.decide(line(f"raid {n}", f"u{n}"), n / 100)) for n in range(100)]
    assert said[:10] == ["say"] * 10
    assert said[10:].count("say") == 18
    assert outcome(judging.decide(line("me", roles=["mod"]), 1.0)) == "say"
    for n in range(6):  # one a second: it is over when it was calm for calm_s
        last = outcome(judging.decide(line(f"calm {n}", f"v{n}"), 2 + n))
    assert last == "say"
    assert [outcome(judging.decide(line(f"x{n}", f"w{n}"), 8 + n)) for n in range(3)] == ["say"] * 3


def test_of_a_raid_only_roles() -> None:
    config = replace(LIMITLESS, raid=RaidConfig(over_per_s=1, keep="roles", roles=("sub",)))
    assert outcomes(
        config, (0, line("a")), (0, line("b")), (0.1, line("c", roles=["sub"])), (0.2, line("d"))
    ) == ["say", "raid", "say", "raid"]


def test_a_raid_is_over_when_it_was_calm_for_a_while() -> None:
    config = replace(LIMITLESS, raid=RaidConfig(over_per_s=1, calm_s=3, keep="roles", roles=()))
    script = [(at, line(f"at {at}")) for at in (0.0, 0.1, 2.5, 4.0)]
    assert outcomes(config, *script) == ["say", "raid", "raid", "say"]


def varied(alphabet: str, size: int, space: str) -> str:
    """Words without repetition, which would be shortened before."""
    words = ["".join(alphabet[(n * k + k) % len(alphabet)] for k in range(2, 7)) for n in range(99)]
    return space.join(words)[:size]


@pytest.mark.parametrize(
    "text",
    [varied("abcdefghijklmnoprstuvwz", 280, " "),
     varied("かきくけこさしすせそたちつてと", 200, "、"),
     varied("가나다라마바사아자차카타파하", 200, " "), varied("1234567890", 200, " ")],
)  # fmt: skip
def test_the_cap_in_seconds_cuts_at_a_word(text: str) -> None:
    verdict = judge(replace(LIMITLESS, max_s=5, cut_mark=" …")).decide(line(text), 0)
    assert verdict.text.endswith(" …")
    body = verdict.text.removesuffix(" …")
    assert text.startswith(body)
    assert 3 < pace.speaking_s(body, TextConfig()) <= 5
    if " " in text:
        assert body.split(" ")[-1] in text.split(" ")


# --- donations -------------------------------------------------------------------------------


def test_donors_come_first_whatever_else_holds() -> None:
    config = replace(
        ChatConfig(), read="mods", raid=RaidConfig(over_per_s=1, keep="roles", roles=())
    )
    judging = judge(config)
    for n in range(5):
        judging.decide(line(f"raid {n}", f"u{n}", roles=["mod"]), 0)
    verdict = judging.decide(line("take this", "Rich_1", donation=5, currency="eur"), 0)
    assert (verdict.priority, verdict.text) == ("normal", "Rich sent 5 euros: take this")
    empty = judging.decide(line("", "Rich_1", donation=2.5, currency="USD"), 0)
    assert empty.text == "Rich sent 2.50 dollars"
    small = judging.decide(line("hi", "poor", donation=99, currency="JPY"), 0)
    assert small.reason == "not_a_reader"
    urgent = judge(replace(config, donations=DonationsConfig(priority="urgent")))
    assert urgent.decide(line(donation=1), 0).priority == "urgent"


@pytest.mark.parametrize("amount", [float("inf"), -5.0, 0.0, 1e308])
def test_absurd_amounts(amount: float) -> None:
    verdict = judge(replace(ChatConfig(), read="listed")).decide(line(donation=amount), 0)
    assert verdict.reason == "not_a_reader" or len(verdict.text) < 60


# --- names and words -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [("xX_DarkLord_Xx1987", "xX Dark Lord Xx"), ("bob", "bob"), ("___", ""), ("12345", ""),
     ("花子_chan99", "花子 chan"), ("42", "42"), ("\u202eevil\x07", "evil"), ("a" * 500, "a" * 24),
     ("the quick brown fox jumps", "the quick brown fox"), ("🔥🔥", ""), ("Ｗｉｄｅ", "Wide")],
)  # fmt: skip
def test_names_as_they_are_said(name: str, said: str) -> None:
    assert spoken_name(name, 24) == said


def test_a_name_is_said_again_only_after_a_while() -> None:
    judging = judge(replace(LIMITLESS, names=NamesConfig(again_s=30)))
    texts = [judging.decide(line(f"hi {at}"), at).text for at in (0, 10, 31)]
    assert texts == ["bob says: hi 0", "hi 10", "bob says: hi 31"]
    assert judging.decide(line("やあ", "花子"), 31).text == "花子さん。やあ"
    assert judging.decide(line("{name} {text}", "{text}"), 31).text == "text says: {name} {text}"


@pytest.mark.parametrize(
    ("choice", "said"),
    [("drop", "wow"), ("name", "wow Pog Champ"), ("say", "wow PogChamp PogChamp")],
)  # fmt: skip
def test_emotes(choice: Any, said: str) -> None:
    verdict = judge(emotes=choice).decide(line("wow PogChamp PogChamp", emotes=["PogChamp"]), 0)
    assert verdict.text == said


def test_the_mention_of_a_reply_is_not_read() -> None:
    assert judge().decide(line("@Ann yes, sure", reply_to="ann"), 0).text == "yes, sure"
    assert judge().decide(line("@Ann yes, sure"), 0).text.startswith("@Ann")


def test_the_screen_is_asked_and_obeyed() -> None:
    judging = Policy(LIMITLESS, TextConfig(), screen=lambda t, _: None if "bad" in t else t.upper())
    assert judging.decide(line("good"), 0).text == "GOOD"
    assert judging.decide(line("so bad"), 0).reason == "filtered"


# --- deletions -------------------------------------------------------------------------------


def test_a_deletion_may_come_before_its_line() -> None:
    judging = judge(replace(LIMITLESS, deleted_s=60))
    judging.delete(ChatDelete(line="Ab", platform="Twitch"), 0)
    assert judging.decide(line("x", line="Ab"), 59).reason == "deleted"
    assert judging.decide(line("x", line="ab"), 59).action == "say"
    assert judging.decide(line("x", line="Ab"), 60).action == "say"
    judging.delete(ChatDelete(author="BOB", platform="twitch"), 100)
    assert judging.decide(line("x"), 104).reason == "deleted"
    assert judging.decide(line("x"), 106).action == "say"


# --- voices ----------------------------------------------------------------------------------


def voices(**config: Any) -> Viewers:
    return Viewers(ViewerVoicesConfig(**config))


def test_voices_assigned_by_platform_and_derived() -> None:
    viewers = voices(mode="derived", assigned={"Ann": "rin", "twitch:bob": "gone"},
                     platforms={"youtube": "ken"})  # fmt: skip
    assert viewers.voice("twitch", "ANN", LANGS) == "rin"
    assert viewers.voice("youtube", "cid", LANGS) == "ken"
    own = {n: viewers.voice("twitch", f"user{n}", LANGS) for n in range(300)}
    assert {*own.values()} == set(LANGS)
    again = voices(mode="derived")
    fewer = {name: lang for name, lang in LANGS.items() if name != "ken"}
    for n, voice in own.items():
        assert again.voice("twitch", f"user{n}", LANGS) == voice
        if voice != "ken":  # who had another voice keeps it
            assert again.voice("twitch", f"user{n}", fewer) == voice
    assert viewers.voice("twitch", "bob", LANGS) in LANGS
    assert voices().voice("twitch", "bob", LANGS) is None


def test_sticky_voices_are_spread_kept_and_bounded() -> None:
    viewers = voices(mode="sticky", remember=50)
    given = [viewers.voice("t", f"u{n}", LANGS) for n in range(30)]
    assert {given.count(voice) for voice in LANGS} == {10}
    later = voices(mode="sticky", remember=50)
    later.from_json(viewers.to_json())
    assert [later.voice("t", f"u{n}", {**LANGS, "new": "en"}) for n in range(30)] == given
    for n in range(1000):
        later.voice("t", f"x{n}", LANGS)
    assert len(later.to_json().splitlines()) < 60


def test_who_is_forgotten_does_not_count_any_more() -> None:
    viewers = voices(mode="sticky", remember=50)
    for n in range(50):
        viewers.voice("t", f"old {n}", {"hana": "en"})
    for n in range(49):
        viewers.voice("t", f"new {n}", {"ken": "en"})
    assert viewers.voice("t", "last", {"hana": "en", "ken": "en"}) == "hana"


# --- properties ------------------------------------------------------------------------------

chats = st.builds(
    Chat,
    text=st.text(max_size=80) | st.sampled_from(["gg", "!so x", "hello", "wwwwww", "http://a.com"]),
    author=st.sampled_from(["a", "b", "nightbot", ""]) | st.text(max_size=8),
    platform=st.sampled_from(["", "twitch", "youtube"]),
    roles=st.lists(st.sampled_from(["sub", "mod", "bot", "x"]), max_size=2),
    donation=st.none() | st.floats(allow_nan=False),
    currency=st.none() | st.sampled_from(["EUR", "{x}", ""]),
    kind=st.sampled_from(["message", "sub", "donation", "raid", "odd"]),
    emotes=st.lists(st.text(max_size=5), max_size=3),
    reply_to=st.none() | st.text(max_size=5),
    lang=st.none() | st.sampled_from(["en", "ja", "xx"]),
)
gaps = st.floats(0, 5)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(gaps, chats), max_size=40))
def test_every_line_gets_exactly_one_verdict(script: list[tuple[float, Chat]]) -> None:
    judging, now, tickets = judge(ChatConfig(voices=ViewerVoicesConfig(mode="sticky"))), 0.0, set()
    for gap, chat in script:
        now += gap
        verdict = judging.decide(chat, now)
        assert verdict.action in ("say", "merge", "drop")
        if verdict.action == "say":
            assert verdict.text.strip()
            assert verdict.reason == ""
            assert verdict.ticket not in tickets
            assert pace.speaking_s(verdict.plain, TextConfig()) < 42
            tickets.add(verdict.ticket)
        elif verdict.action == "merge":
            assert verdict.ticket in tickets
        else:
            assert verdict.reason


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(gaps, chats), max_size=40))
def test_with_the_limits_off_nothing_is_dropped(script: list[tuple[float, Chat]]) -> None:
    judging, now = judge(), 0.0
    for gap, chat in script:
        now += gap
        chat = replace(chat, roles=[role for role in chat.roles if role != "bot"])
        verdict = judging.decide(chat, now)
        assert verdict.action == "say" or verdict.reason == "nothing_to_say"


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AUTHORS", "TEXTS", "DELETIONS"):
        monkeypatch.setattr(policy, name, 100)
    judging = judge(
        replace(ChatConfig(), raid=RaidConfig(over_per_s=0), voices=ViewerVoicesConfig("derived"))
    )
    for n in range(3000):
        judging.decide(line(f"text {n}", f"author {n}", line=str(n)), n / 500)
        judging.delete(ChatDelete(line=f"x{n}", platform="twitch"), n / 500)
    assert judging.sizes() == {"authors": 100, "texts": 100, "tickets": 100, "deletions": 100}


@pytest.mark.parametrize(
    "text", ["a" * 4_000_000, "!" * 4_000_000, " " * 4_000_000, "\u202e\x00" * 1_000_000,
             "😂" * 1_000_000, "@" + "x" * 4_000_000, "ha" * 2_000_000]
)  # fmt: skip
def test_huge_lines_cost_no_more_than_long_ones(text: str) -> None:
    verdict = judge(ChatConfig()).decide(line(text, "a" * 200, reply_to="x"), 0)
    assert len(verdict.text) < 400
