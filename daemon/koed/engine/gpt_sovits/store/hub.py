"""Official files from the Hub: by name, with resume, and never without a checksum.

huggingface_hub asks and transfers; the half-done file and its name are ours, because the library
begins again after an interruption, which at two gigabytes is not an option on many lines. The
server says each file's SHA-256 (large files) or git hash (small ones); what does not match, or is
not the model that it should be, is deleted.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from koed.engine.fetching import AGENT, Pulled, Source, bring
from koed.engine.gpt_sovits.checkpoints import checkpoint
from koed.errors import EngineError

REPOSITORY = "lj1995/GPT-SoVITS"
ENDPOINT = "https://huggingface.co"
FOLDER = "official"
"""Within the folder of models."""

S1_V1 = "s1bert25hz-2kh-longer-epoch=68e-step=50232.ckpt"
S1_V2 = "gsv-v2final-pretrained/s1bert25hz-5kh-longer-epoch=12-step=369668.ckpt"
S1_PRO = "s1v3.ckpt"
S2_V1 = "s2G488k.pth"
S2_V2 = "gsv-v2final-pretrained/s2G2333k.pth"
S2_PRO = "v2Pro/s2Gv2Pro.pth"
S2_PRO_PLUS = "v2Pro/s2Gv2ProPlus.pth"
SPEAKER = "sv/pretrained_eres2netv2w24s4ep4.ckpt"
HUBERT, BERT = "chinese-hubert-base", "chinese-roberta-wwm-ext-large"

_HUBERT = (f"{HUBERT}/config.json", f"{HUBERT}/pytorch_model.bin")
_BERT = tuple(f"{BERT}/{name}" for name in ("config.json", "tokenizer.json", "pytorch_model.bin"))
_SHARED = (*_HUBERT, *_BERT)

CATALOGUE: Mapping[str, tuple[str, ...]] = {
    "v1": (S1_V1, S2_V1, *_SHARED),
    "v2": (S1_V2, S2_V2, *_SHARED),
    "v2Pro": (S1_PRO, S2_PRO, SPEAKER, *_SHARED),
    "v2ProPlus": (S1_PRO, S2_PRO_PLUS, SPEAKER, *_SHARED),
    "hubert": _HUBERT,
    "bert": _BERT,
    "sv": (SPEAKER,),
}
"""What `koed models pull NAME` fetches, by its path in the repository."""

EXPECTED = {
    S1_V1: ("s1", "v1"),
    S1_V2: ("s1", "v2"),
    S1_PRO: ("s1", "v2"),
    S2_V1: ("s2", "v1"),
    S2_V2: ("s2", "v2"),
    S2_PRO: ("s2", "v2Pro"),
    S2_PRO_PLUS: ("s2", "v2ProPlus"),
    SPEAKER: ("sv", ""),
    f"{HUBERT}/pytorch_model.bin": ("hubert", ""),
    f"{BERT}/pytorch_model.bin": ("bert", ""),
}
"""Kind, and version (s2) or phones (s1), that each file must turn out to be."""

_RETRY = (
    "run it again: it goes on where it stopped. A mirror: --endpoint URL, or models: {mirror: URL}"
    " in koed.yaml"
)


def files_of(name: str) -> tuple[str, ...]:
    """Paths for a catalogue name, in any case; EngineError ``unknown_model``."""
    for known, paths in CATALOGUE.items():
        if known.lower() == name.lower():
            return paths
    names = ", ".join((*CATALOGUE, "kokoro"))
    raise EngineError(
        "unknown_model", f"nothing official is called {name[:64]!r}", f"known: {names}"
    )


def pull(
    name: str,
    models: Path,
    endpoint: str = ENDPOINT,
    progress: bool = False,
    told: Callable[[Pulled], None] | None = None,
) -> list[Pulled]:
    """Fetch the files of a catalogue name into ``models / "official"``; ``told`` after each.

    ``progress`` shows bars on the standard error. No token is ever sent. Raises EngineError:
    ``unknown_model``, ``pull_failed``, ``pull_checksum``, ``pull_wrong_model``, ``pull_busy``.
    """
    done = []
    for path in files_of(name):
        target = models / FOLDER / path
        with _translated(path, endpoint):
            pulled = _fetch(path, target, endpoint.rstrip("/"), progress)
        done.append(pulled)
        if told:
            told(pulled)
    return done


def _fetch(path: str, target: Path, endpoint: str, progress: bool) -> Pulled:
    source = _ask(path, endpoint)
    return bring(
        source, target, path,
        lambda file: _transfer(source, file, target.name, progress),
        lambda part: _check_model(path, part),
    )  # fmt: skip


def _ask(path: str, endpoint: str) -> Source:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(REPOSITORY, path, endpoint=endpoint)
    found = get_hf_file_metadata(url, token=False)
    digest = found.etag or ""
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", digest) or found.size is None:
        hint = "use another mirror: --endpoint URL"
        raise EngineError("pull_checksum", f"{endpoint} gives no checksum for {path}", hint)
    return Source(found.location, found.size, digest)


def _transfer(source: Source, file: BinaryIO, name: str, progress: bool) -> None:
    """Append what is missing. A line that breaks is asked again, from where it broke."""
    from huggingface_hub.file_download import http_get

    with _bars(progress):
        http_get(
            source.url,
            file,
            resume_size=file.tell(),
            headers=AGENT,
            expected_size=source.size,
            displayed_filename=name,
        )


def _check_model(path: str, part: Path) -> None:
    expected = EXPECTED.get(path)
    if expected is None:
        return
    try:
        info = checkpoint.inspect(part)
    except EngineError as error:
        part.unlink()
        raise EngineError("pull_wrong_model", f"{path}: {error.message}", error.hint) from error
    if expected != (info.kind, info.symbols if info.kind == "s1" else info.version):
        part.unlink()
        found = f"{info.kind} {info.version or info.symbols}".strip()
        raise EngineError(
            "pull_wrong_model", f"{path} is {found} instead of {' '.join(expected).strip()}"
        )


@contextlib.contextmanager
def _bars(shown: bool) -> Iterator[None]:
    utils: Any = importlib.import_module("huggingface_hub.utils")
    before = utils.are_progress_bars_disabled()
    (utils.enable_progress_bars if shown else utils.disable_progress_bars)()
    try:
        yield
    finally:
        (utils.disable_progress_bars if before else utils.enable_progress_bars)()


@contextlib.contextmanager
def _translated(path: str, endpoint: str) -> Iterator[None]:
    """The library's errors, its HTTP client's and the disk's, as one of ours."""
    from huggingface_hub import errors

    # The base of the client's errors, whichever client this version of the library uses.
    http_error: Any = errors.HfHubHTTPError.__mro__[1]
    try:
        yield
    except (http_error, OSError, ValueError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EngineError(
            "pull_failed", f"cannot fetch {path} from {endpoint}: {what[:200]}", _RETRY
        ) from error
