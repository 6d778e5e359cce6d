"""What koed needs in OBS, and how it gets there: the plan (pure), and carrying it out.

koed marks what it makes: the settings of such a source hold ``koed_made: "audio main"``, which OBS
keeps with the scene collection. By this mark it is known again after it was renamed, and only what
bears it is ever changed or removed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from koed.config.obs_looks import CaptionConfig, SetupConfig
from koed.errors import KoedError
from koed.integrations.obs.link import Caller, ObsRefused

MARK = "koed_made"
CAPTURE = "pulse_input_capture"
TEXT_KINDS = ("text_gdiplus_v3", "text_gdiplus_v2", "text_gdiplus", "text_ft2_source_v2")
"""Newest first; a Linux has the last one alone."""

LEFT_BOTTOM = 1 | 8
"""OBS_ALIGN_LEFT | OBS_ALIGN_BOTTOM: a caption grows to the right and upwards, and what is read
already stays where it is."""
MARGIN = 0.05
"""Of the picture, around the caption."""
CELL = 0.62
"""Width of a narrow character over the height of the font, for a wide sans serif."""
GONE_S = 15.0

Action = Literal["create", "place", "adjust", "rename", "remove", "keep", "cannot"]


@dataclass(frozen=True, slots=True)
class ObsInput:
    """An input of OBS. ``mark`` is empty for what koed did not make; ``device``: of a capture."""

    name: str
    kind: str
    mark: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class Studio:
    """What is there. ``items``: scene -> names of the sources that lie in it."""

    kinds: tuple[str, ...]
    sources: tuple[ObsInput, ...]
    items: Mapping[str, frozenset[str]]
    current: str
    width: int = 1920
    height: int = 1080

    def marked(self, mark: str) -> ObsInput | None:
        return next((s for s in self.sources if s.mark == mark), None)

    def named(self, name: str) -> ObsInput | None:
        return next((s for s in self.sources if s.name == name), None)


@dataclass(frozen=True, slots=True)
class Wish:
    """One source that koed wants: its mark, name, kind, first settings and place."""

    mark: str
    name: str
    kind: str
    settings: Mapping[str, Any]
    place: Mapping[str, Any] = field(default_factory=dict)
    """``sceneItemTransform``; empty = where OBS puts it."""
    device: str = ""

    @property
    def noun(self) -> str:
        return f"audio capture of {self.device}" if self.device else "caption"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, or to know (keep, cannot). ``name`` is the source's."""

    action: Action
    name: str
    text: str
    """For people: what and why."""
    scene: str = ""
    wish: Wish | None = None
    hint: str = ""

    @property
    def changes(self) -> bool:
        return self.action not in ("keep", "cannot")


# --- the plan: pure --------------------------------------------------------------------------


def wishes(
    microphones: Mapping[str, str],
    captions: Mapping[str, CaptionConfig],
    setup: SetupConfig,
    studio: Studio,
) -> list[Wish]:
    """``microphones``: output -> its microphone in the sound server, the first one first."""
    wanted = []
    for number, (output, microphone) in enumerate(microphones.items()):
        name = setup.audio if number == 0 else f"{setup.audio} {output}"
        device = {"device_id": microphone}
        wanted.append(Wish(f"audio {output}", name, CAPTURE, device, device=microphone))
    kind = next((kind for kind in TEXT_KINDS if kind in studio.kinds), TEXT_KINDS[-1])
    for number, (output, caption) in enumerate(captions.items()):
        place = {
            "alignment": LEFT_BOTTOM,
            "positionX": round(studio.width * MARGIN),
            "positionY": round(studio.height * (1 - MARGIN - 0.15 * number)),
        }
        font: dict[str, Any] = {"size": setup.font_size or _font_size(caption, studio)}
        if setup.font:
            font |= {"face": setup.font}
        text = {"text": "", "outline": True, "font": font}
        wanted.append(Wish(f"caption {output}", caption.source, kind, text, place))
    return wanted


def _font_size(caption: CaptionConfig, studio: Studio) -> int:
    """So that a line is as wide as the picture without its margins, and not absurdly high."""
    fits = studio.width * (1 - 2 * MARGIN) / (caption.width * CELL)
    return max(10, round(min(fits, studio.height / 12)))


def plan(studio: Studio, wanted: Iterable[Wish], scenes: Iterable[str]) -> list[Step]:
    """What is to be done so that every wish is there, in every one of the scenes."""
    steps: list[Step] = []
    for wish in wanted:
        steps += _plan_one(studio, wish, [s for s in scenes if s in studio.items])
    for scene in scenes:
        if scene not in studio.items:
            known = ", ".join(studio.items)
            steps.append(Step("cannot", scene, "there is no such scene", hint=f"known: {known}"))
    return steps


def _plan_one(studio: Studio, wish: Wish, scenes: list[str]) -> Iterator[Step]:
    made = studio.marked(wish.mark)
    if made is None:
        yield from _plan_new(studio, wish, scenes)
        return
    if wish.device and made.device != wish.device:
        text = f"it captures {made.device or 'nothing'}, now {wish.device}"
        yield Step("adjust", made.name, text, wish=wish)
    if made.name != wish.name:
        taken = wish.name in studio.items or studio.named(wish.name)
        if taken:
            hint = "rename that one, or choose another name in koed.yaml"
            yield Step("cannot", wish.name, f"this name, for {made.name!r}, is taken", hint=hint)
        else:
            yield Step("rename", made.name, f"becomes {wish.name!r}", wish=wish)
    if all(made.name in studio.items[scene] for scene in scenes):
        yield Step("keep", made.name, f"the {wish.noun} is there", wish=wish)
    for scene in scenes:
        if made.name not in studio.items[scene]:
            yield Step("place", wish.name, f"the {wish.noun}, into the scene", scene, wish)


def _plan_new(studio: Studio, wish: Wish, scenes: list[str]) -> Iterator[Step]:
    """It was not made yet: perhaps the user has one, perhaps the name is taken."""
    own = _users_own(studio, wish)
    if own is not None:
        text = f"your own {wish.noun} is used, and left as it is"
        yield Step("keep", own.name, text, wish=wish)
        return
    if wish.name in studio.items or studio.named(wish.name):
        there = studio.named(wish.name)
        what = f"a source of kind {there.kind}" if there else "a scene"
        hint = "rename it in OBS, or choose another name in koed.yaml under obs:"
        yield Step("cannot", wish.name, f"{what} has this name", hint=hint)
        return
    if wish.kind not in studio.kinds:
        hint = "is OBS on another machine? Then bring koed's sound there by hand, see docs/obs.md"
        yield Step("cannot", wish.name, f"this OBS has no sources of kind {wish.kind}", hint=hint)
        return
    first, *others = scenes or [studio.current]
    yield Step("create", wish.name, f"the {wish.noun}", first, wish)
    for scene in others:
        yield Step("place", wish.name, f"the {wish.noun}, into the scene", scene, wish)


def _users_own(studio: Studio, wish: Wish) -> ObsInput | None:
    """What does the same and was made by somebody else: a capture of the same microphone under
    any name, a text source of the caption's name."""
    if wish.device:
        fits = (s for s in studio.sources if s.kind == wish.kind and s.device == wish.device)
        return next((s for s in fits if not s.mark), None)
    named = studio.named(wish.name)
    return named if named and not named.mark and named.kind in TEXT_KINDS else None


def plan_removal(studio: Studio) -> list[Step]:
    """Whatever bears koed's mark goes, from all scenes."""
    return [
        Step("remove", source.name, f"made by koed ({source.mark})")
        for source in studio.sources
        if source.mark
    ]


# --- the world -------------------------------------------------------------------------------


def look(obs: Caller) -> Studio:
    """What is there in the OBS at the other end. Raises `KoedError`."""
    scenes = obs.call("GetSceneList")
    video = obs.call("GetVideoSettings")
    items = {}
    for scene in scenes["scenes"]:
        found = obs.call("GetSceneItemList", sceneName=scene["sceneName"])["sceneItems"]
        items[scene["sceneName"]] = frozenset(item["sourceName"] for item in found)
    return Studio(
        kinds=tuple(obs.call("GetInputKindList")["inputKinds"]),
        sources=tuple(_sources(obs)),
        items=dict(reversed(items.items())),  # as OBS shows them
        current=scenes["currentProgramSceneName"],
        width=int(video["baseWidth"]),
        height=int(video["baseHeight"]),
    )


def _sources(obs: Caller) -> Iterator[ObsInput]:
    for one in obs.call("GetInputList")["inputs"]:
        name, kind = one["inputName"], one["inputKind"]
        settings: Any = {}
        if kind == CAPTURE or kind in TEXT_KINDS:
            settings = obs.call("GetInputSettings", inputName=name)["inputSettings"]
        mark, device = settings.get(MARK, ""), settings.get("device_id", "")
        yield ObsInput(name, kind, mark if isinstance(mark, str) else "", str(device))


def apply(obs: Caller, steps: Iterable[Step], done: Callable[[Step], None]) -> None:
    """Carry out the steps that change something, in their order; ``done`` is told each one.

    Raises `KoedError` at the first that OBS refuses; what was done stays, and a second run goes
    on from there.
    """
    for step in (step for step in steps if step.changes):
        _DO[step.action](obs, step)
        done(step)


def _create(obs: Caller, step: Step) -> None:
    wish = _wish(step)
    settings = dict(wish.settings) | {MARK: wish.mark}
    if "font" in settings:  # part of a font would leave the rest empty, and no text is drawn
        defaults = obs.call("GetInputDefaultSettings", inputKind=wish.kind)
        settings["font"] = defaults["defaultInputSettings"].get("font", {}) | settings["font"]
    made = obs.call(
        "CreateInput",
        sceneName=step.scene, inputName=wish.name, inputKind=wish.kind,
        inputSettings=settings, sceneItemEnabled=True,
    )  # fmt: skip
    _put(obs, step.scene, made["sceneItemId"], wish)


def _place(obs: Caller, step: Step) -> None:
    wish = _wish(step)
    item = obs.call("CreateSceneItem", sceneName=step.scene, sourceName=step.name)
    _put(obs, step.scene, item["sceneItemId"], wish)


def _put(obs: Caller, scene: str, item: int, wish: Wish) -> None:
    if wish.place:
        obs.call(
            "SetSceneItemTransform",
            sceneName=scene, sceneItemId=item, sceneItemTransform=dict(wish.place),
        )  # fmt: skip


def _adjust(obs: Caller, step: Step) -> None:
    settings = {"device_id": _wish(step).device}
    obs.call("SetInputSettings", inputName=step.name, inputSettings=settings, overlay=True)


def _rename(obs: Caller, step: Step) -> None:
    obs.call("SetInputName", inputName=step.name, newInputName=_wish(step).name)


def _remove(obs: Caller, step: Step) -> None:
    """Out of each scene first: OBS forgets a source that was removed only when it next draws the
    scenes that have it, which may be never. Then wait until it is gone."""
    for scene in obs.call("GetSceneList")["scenes"]:
        name = scene["sceneName"]
        for item in obs.call("GetSceneItemList", sceneName=name)["sceneItems"]:
            if item["sourceName"] == step.name:
                obs.call("RemoveSceneItem", sceneName=name, sceneItemId=item["sceneItemId"])
    deadline = time.monotonic() + GONE_S
    while time.monotonic() < deadline:
        if all(one["inputName"] != step.name for one in obs.call("GetInputList")["inputs"]):
            return
        with contextlib.suppress(ObsRefused):  # it went with its last scene
            obs.call("RemoveInput", inputName=step.name)
        time.sleep(0.05)
    raise KoedError("obs_slow", f"OBS has not removed {step.name!r} within {GONE_S:g} s")


def _wish(step: Step) -> Wish:
    assert step.wish is not None
    return step.wish


_DO: dict[str, Callable[[Caller, Step], None]] = {
    "create": _create,
    "place": _place,
    "adjust": _adjust,
    "rename": _rename,
    "remove": _remove,
}


def devices(obs: Caller, capture: str) -> list[str]:
    """What OBS would let a user choose for an audio capture. Empty: it has no sound server (any
    more)."""
    offered = obs.call(
        "GetInputPropertiesListPropertyItems", inputName=capture, propertyName="device_id"
    )
    return [str(item["itemValue"]) for item in offered["propertyItems"]]
