"""Who may import whom, by walking the syntax tree; and what an import may do: nothing.

Arrows between folders point down: no folder and no file imports another in a circle, at any level.
A new folder gets a row in `TABLE` (and, if the rule is new, in CONTRIBUTING.md).
"""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = {"koed": REPOSITORY / "daemon", "koe": REPOSITORY / "clients"}


@dataclass(frozen=True)
class May:
    """What a module may import: ours by prefix (``koed.text`` allows ``koed.text.segment``)."""

    ours: str = ""
    third: str = ""


ANYTHING = "koe koed"

MOST_NAMES = 26
"""Files and folders directly below ``koed``."""

NEURAL = "numpy torch soundfile torchaudio transformers safetensors huggingface_hub"
"""What only `koed.engine.gpt_sovits` may load; it comes with the extra of that name."""

# The longest matching name counts. A row without a module fails, and so does a module without a
# row ("koed" and "koe" alone are the packages' own __init__).
TABLE = {
    "koe": May(),
    # the wire as values, the way to koed, its verbs
    "koe.wire": May("koe.wire", "msgpack"),
    "koe.protocol": May("koe.wire"),
    "koe.events": May("koe.wire"),
    "koe.transport": May("koe.transport koe.wire", "zmq"),
    "koe.client": May("koe", "zmq"),
    "koe.aio": May("koe", "zmq"),
    "koe.recording": May("koe.wire"),
    "koe.verbs": May("koe.protocol koe.wire"),
    # the command line and what runs beside koed
    "koe.cli": May("koe"),
    "koe.cli.parser": May(),
    "koe.cli.format": May(),
    "koe.bridge": May("koe"),
    "koe.bridge.bouyomi.guard": May("koe.transport"),
    "koe.bridge.bouyomi.http": May("koe", "h11"),
    "koe.bridge.bouyomi.wire": May(),
    "koe.bridge.vts.api": May(),
    "koe.bridge.vts.main": May("koe", "websockets"),
    "koe.bridge.vts.parameters": May("koe.protocol"),
    "koe.bridge.vts.session": May("koe.bridge", "websockets"),
    "koe.bridge.vts.token": May("koe.transport"),
    "koe.chat": May("koe", "zmq"),
    "koe.hotkeys": May("koe"),
    "koe.hotkeys.bindings": May(),
    "koe.hotkeys.connection": May("koe.transport koe.wire", "zmq"),
    "koe.hotkeys.file": May("koe.hotkeys.bindings koe.transport", "yaml"),
    "koe.hotkeys.keynames": May("koe.hotkeys.bindings", "xcffib"),
    "koe.hotkeys.loop": May("koe", "zmq"),
    "koe.hotkeys.selection": May(third="xcffib"),
    "koe.hotkeys.state": May("koe.hotkeys.bindings"),
    "koe.hotkeys.wayland": May("koe.hotkeys.bindings"),
    "koe.hotkeys.x11": May("koe.hotkeys koe.transport", "xcffib"),
    "koed": May(),
    # values: what everybody above may import
    "koed.errors": May("koe.wire"),
    "koed.events": May("koe.protocol koed.errors"),
    "koed.config": May("koe.hotkeys.bindings koe.protocol koed.auth koed.config koed.errors"),
    "koed.config.schema": May("koed.config koed.errors", "yaml"),
    "koed.config.yaml_nodes": May("koed.errors", "yaml"),
    # the edges of the process
    "koed.auth": May("koed.auth koed.errors", "zmq"),
    "koed.service": May("koe.protocol koed.config koed.errors"),
    "koed.service.metrics": May("koe.protocol koed.errors koed.events", "prometheus_client"),
    # text and recordings; libraries of one language come late, through `koed.g2p.library.load`
    "koed.text": May("koed.config koed.errors koed.text", "emoji"),
    "koed.g2p": May("koed.errors koed.g2p"),
    "koed.g2p.chinese_g2pw": May("koed.errors koed.g2p", "numpy onnxruntime"),
    "koed.g2p.english_net": May("koed.g2p", "numpy"),
    "koed.recordings": May("koed.errors koed.recordings", "numpy soundfile"),
    # sound
    "koed.audio": May(
        "koe.protocol koed.audio koed.config koed.errors koed.service.files", "numpy soxr"
    ),
    "koed.audio.arrangement": May(),
    "koed.audio.device": May("koed.audio koed.errors", "numpy pyaudio"),
    "koed.audio.sound_server": May("koed.errors", "pulsectl"),
    # engines: what both sides know, the stage's side, the worker's, and the engines
    "koed.engine": May("koe.wire koed.engine koed.errors", "numpy msgpack"),
    "koed.engine.registry": May("koed.config.engines koed.engine koed.errors"),
    "koed.engine.base": May(third="numpy msgpack"),
    "koed.engine.host": May("koe.protocol koed.config koed.engine koed.errors koed.events",
                            "numpy zmq"),
    "koed.engine.worker": May("koed.auth koed.engine koed.errors", "numpy msgpack zmq"),
    "koed.engine.embedded": May("koed.engine koed.errors", "numpy pyopenjtalk"),
    "koed.engine.kokoro": May("koed.engine koed.errors koed.g2p", "numpy onnxruntime"),
    "koed.engine.gpt_sovits": May(
        "koed.engine koed.errors koed.g2p koed.recordings", NEURAL + " soxr"
    ),
    # the voice: no socket, no thread, no device, no library of either
    "koed.playback": May(
        "koe.protocol koed.audio.arrangement koed.config koed.engine.base koed.engine.jobs"
        " koed.errors koed.events koed.playback koed.text",
        "numpy",
    ),
    "koed.playback.queue": May("koed.config.delivery koed.errors koed.events"),
    "koed.playback.recorder": May(
        "koe.protocol koed.audio.arrangement koed.config koed.engine.base koed.playback",
        "numpy msgpack",
    ),
    "koed.playback.shutdown": May("koed.audio.output koed.playback"),
    "koed.voices": May(
        "koe.protocol koed.config koed.engine.base koed.errors koed.events koed.voices"
    ),
    "koed.voices.enroll": May(
        "koed.config koed.engine koed.errors koed.recordings koed.text koed.voices",
        "numpy matplotlib yaml",
    ),
    "koed.voices.languages": May("koed.text"),
    "koed.voices.packs": May(
        "koed.config koed.engine koed.errors koed.recordings koed.text koed.voices", "pypinyin"
    ),
    "koed.voices.packs.tables": May(
        "koed.config koed.engine koed.errors koed.text koed.voices", "numpy yaml"
    ),
    "koed.phrases": May(
        "koe.protocol koed.config koed.engine.base koed.engine.jobs koed.errors koed.events"
        " koed.phrases koed.playback koed.service.files koed.text koed.voices",
        "numpy msgpack",
    ),
    # who asks for it, and what outlives it
    "koed.server": May(
        "koe.protocol koe.wire koed.audio.history koed.auth koed.config koed.errors"
        " koed.events koed.playback koed.server koed.text koed.voices",
        "zmq",
    ),
    "koed.persistence": May(
        "koe.protocol koed.config koed.errors koed.events koed.persistence koed.playback"
        " koed.service.files",
        "msgpack",
    ),
    "koed.integrations": May(),
    "koed.integrations.chat": May(
        "koe.protocol koed.config koed.errors koed.events koed.integrations.chat koed.playback"
        " koed.server koed.service.files koed.text koed.voices"
    ),
    "koed.integrations.chat.rehearse": May("koe koed.config koed.errors koed.integrations.chat"),
    "koed.integrations.obs": May(
        "koe.protocol koed.config koed.errors koed.events koed.integrations.obs koed.server"
    ),
    "koed.integrations.obs.link": May("koed.errors", "obswebsocket websocket"),
    # the wiring, and what is asked of a shell
    "koed.app": May(ANYTHING, "zmq"),
    "koed.wiring": May(ANYTHING, "zmq"),
    "koed.in_process": May(ANYTHING, "numpy"),
    "koed.offline": May(ANYTHING, "numpy zmq"),
    "koed.cli": May(ANYTHING),
    "koed.testing": May(
        "koe koed.errors koed.engine.gpt_sovits.checkpoints koed.engine.gpt_sovits.store",
        "numpy torch yaml",
    ),
    "koed.bench": May(ANYTHING, "numpy yaml zmq matplotlib"),
    "koed.bench.judges": May(
        "koed.bench.judges koed.engine koed.errors koed.g2p", "numpy soxr onnxruntime ctranslate2"
    ),
    "koed.bench.engine": May("koed.bench koed.engine koed.config koed.errors koed.testing", NEURAL),
}  # fmt: skip


# --- the syntax tree -------------------------------------------------------------------------


def modules() -> dict[str, Path]:
    found = {}
    for package, source in SOURCES.items():
        for path in sorted((source / package).rglob("*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@functools.cache
def imports_of(path: Path, typing: bool = True) -> tuple[tuple[int, str], ...]:
    """``(line, name)`` of every import, those inside functions and by `import_module` included, and
    those for type checkers alone if ``typing``.

    ``from koed import config`` names ``koed.config`` where that is a module.
    """
    return tuple(_imports(path, typing))


def _imports(path: Path, typing: bool) -> Iterator[tuple[int, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    left_out = set() if typing else for_type_checkers(tree)
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield node.lineno, full if full in MODULES else str(node.module)
        elif isinstance(node, ast.Call) and imports_by_name(node):
            yield node.lineno, str(ast.literal_eval(node.args[0]))


def for_type_checkers(tree: ast.Module) -> set[ast.AST]:
    """What is below ``if TYPE_CHECKING``: no import of a program that runs."""
    return {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for statement in branch.body
        for node in ast.walk(statement)
    }


def imports_by_name(call: ast.Call) -> bool:
    by_name = ast.unparse(call.func).endswith(("import_module", "__import__"))
    return by_name and bool(call.args) and isinstance(call.args[0], ast.Constant)


def below(name: str, prefixes: str) -> bool:
    return any(name == p or name.startswith(p + ".") for p in prefixes.split())


def row_of(module: str) -> str | None:
    if module in SOURCES:
        return module
    rows = [row for row in TABLE if row not in SOURCES and below(module, row)]
    return max(rows, key=len, default=None)


@pytest.mark.parametrize("module", MODULES)
def test_import_table(module: str) -> None:
    row = row_of(module)
    assert row is not None, f"{module} is not in the import table of {__file__}"
    may = TABLE[row]
    wrong = []
    for line, name in imports_of(MODULES[module]):
        root = name.split(".")[0]
        if root in SOURCES:
            # The packages' own __init__ is empty but for the version.
            fine = name in SOURCES or below(name, may.ours)
        else:
            fine = root in sys.stdlib_module_names or root in may.third.split()
        if not fine:
            wrong.append(f"{MODULES[module].relative_to(REPOSITORY)}:{line}: {name}")
    assert not wrong, f"{module} (row {row}) may not import: " + ", ".join(wrong)


PACKAGES = sorted({module.rpartition(".")[0] for module in MODULES if "." in module})


def below_directly(package: str, module: str) -> str:
    """``koed.engine.host.pool`` is in ``engine`` of ``koed``; empty = elsewhere."""
    return module.removeprefix(package + ".").split(".")[0] if below(module, package) else ""


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle(package: str) -> None:
    """Between the names directly below it."""
    arrows: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        start = below_directly(package, module)
        for _, name in imports_of(path, typing=False):
            end = below_directly(package, name) if name in MODULES else ""
            if module != package != name and start and end and start != end:
                arrows.setdefault(start, set()).add(end)
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"{package}: " + " <- ".join(error.args[1]))


def test_koed_is_taken_in_at_a_glance() -> None:
    assert len({below_directly("koed", module) for module in MODULES}) <= MOST_NAMES


def test_import_table_has_no_row_too_many() -> None:
    assert {row_of(module) for module in MODULES} >= set(TABLE)


def imported_below(folder: str) -> Iterator[tuple[Path, int, str]]:
    """(file, line, module) of a folder of the repository."""
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        yield from ((path.relative_to(REPOSITORY), *found) for found in imports_of(path))


def test_tests_and_tools_stand_on_their_own_feet() -> None:
    """What tests and benches both need is in `koed.testing`; a bench is tested, not built upon."""
    wrong = [
        f"{path}:{line}: {name}"
        for folder, taboo in (("tests", "koed.bench"), ("tools", "tests"))
        for path, line, name in imported_below(folder)
        if below(name, taboo) and not path.is_relative_to("tests/bench")
    ]
    assert not wrong, ", ".join(wrong)


def test_a_class_name_means_one_thing_or_two() -> None:
    """Two: a value of the wire and what it is inside. With three a reader asks which is meant."""
    found: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(module)
    assert {name: where for name, where in found.items() if len(where) > 2} == {}


# --- what is imported is also installed ------------------------------------------------------


def declared(*extras: str) -> set[str]:
    """Distribution names, as PyPI compares them, of the base install and of some extras."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    names = (re.match(r"[\w.-]+", line) for line in lines)
    return {normal(match[0]) for match in names if match}


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


ALL = ("daemon", "embedded", "natural", "metrics", "obs", "demo", "gpt-sovits", "torchaudio")
"""What a daemon may be installed with."""


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("clients/koe", ("bridges", "hotkeys")),
        ("daemon/koed", (*ALL, "bridges", "g2pw", "judges")),
        ("tests", (*ALL, "bridges", "hotkeys", "dev")),
        ("tools", (*ALL, "bridges", "hotkeys", "dev")),
        ("scripts", ()),
    ],
)
def test_imported_libraries_are_declared(folder: str, extras: tuple[str, ...]) -> None:
    owners = importlib.metadata.packages_distributions()
    allowed = declared(*extras)
    wrong = []
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        siblings = {p.stem for p in path.parent.iterdir()} | {"koe", "koed", "tests", "tools"}
        for line, name in imports_of(path):
            root = name.split(".")[0]
            if root in sys.stdlib_module_names or root in siblings:
                continue
            if not {normal(d) for d in owners.get(root, [root])} & allowed:
                wrong.append(f"{path.relative_to(REPOSITORY)}:{line}: {root}")
    assert not wrong, f"not in pyproject.toml ({', '.join(extras) or 'base'}): " + ", ".join(wrong)


# --- fresh interpreters ----------------------------------------------------------------------


def fresh(code: str) -> str:
    """What a new interpreter prints; it must end well."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(code)],
        capture_output=True, text=True, check=False, timeout=300, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(code: str, *names: str) -> set[str]:
    return set(fresh(f"{code}\nimport sys\nprint(*({set(names)!r} & set(sys.modules)))").split())


def test_the_client_is_light() -> None:
    code = "import koe, koe.cli, koe.client, koe.aio"
    assert loaded_by(code, "numpy", "torch", "koed", "yaml", "soxr", "pyaudio") == set()


def test_koed_help_is_light() -> None:
    code = """
import contextlib, io, koed.cli
with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
    koed.cli.main(["--help"])
assert "run" in text.getvalue(), text.getvalue()
"""
    assert loaded_by(code, "torch", "numpy", "scipy", "pyaudio", "pyopenjtalk", "zmq") == set()


def test_text_to_phones_is_light() -> None:
    assert loaded_by("import koed.g2p", "torch", "numpy", "transformers", "jieba") == set()


def test_the_stage_is_light() -> None:
    heavy = ("torch", "scipy", "pyopenjtalk", "matplotlib", "pydantic")
    assert loaded_by("import koed.app", *heavy) == set()


WATCHED_IMPORT = """
import importlib, logging, os, signal, sys, threading

# What a library may do while it is loaded is its own affair, unless it is one of these.
FORBIDDEN = {"os.mkdir", "os.remove", "os.rename", "os.system", "subprocess.Popen", "os.fork",
             "socket.bind", "socket.connect", "socket.sendto"}
OURS = tuple(sys.argv[2].split(":"))
happened = []

def ours():
    frame = sys._getframe(2)
    while frame:
        if frame.f_code.co_filename.startswith(OURS):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back

def hook(event, arguments):
    wrote = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if event in FORBIDDEN and not looked_up() or wrote:
        happened.append(f"{event} {arguments[:2]} at {ours()}")
    elif event in ("open", "ctypes.dlopen", "os.putenv") and direct():
        happened.append(f"{event} {arguments[0]} at {ours()}")

def direct():
    frame = sys._getframe(2)
    return frame is not None and frame.f_code.co_filename.startswith(OURS)

def looked_up():
    # Where a library is, asked of ldconfig by another library: torch's way to libdl, which changes
    # nothing. We have no business with it while we are loaded.
    frame, files = sys._getframe(2), []
    while frame and frame.f_code.co_filename.endswith(("/subprocess.py", "/ctypes/util.py")):
        files.append(frame.f_code.co_filename.rpartition("/")[2])
        frame = frame.f_back
    return "util.py" in files and frame and not frame.f_code.co_filename.startswith(OURS)

class Environ(dict):
    def _seen(self, name):
        if sys._getframe(2).f_code.co_filename.startswith(OURS):
            happened.append(f"environment read: {name} at {ours()}")
    def __getitem__(self, name): self._seen(name); return super().__getitem__(name)
    def get(self, name, default=None): self._seen(name); return super().get(name, default)
    def __contains__(self, name): self._seen(name); return super().__contains__(name)

real = os.environ
os.environ = Environ(real)
os.getenv = lambda name, default=None: os.environ.get(name, default)
sys.addaudithook(hook)
before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
for module in sys.argv[1].split():
    importlib.import_module(module)
    if threading.active_count() > 1:
        happened.append(f"{module}: a thread")
    if logging.getLogger().handlers or any(logging.getLogger(n).handlers for n in ("koe", "koed")):
        happened.append(f"{module}: logging was set up")
        logging.getLogger().handlers.clear()
if before != [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]:
    happened.append("a signal handler")
print("\\n".join(happened))
"""


def test_nothing_happens_at_import() -> None:
    torch = importlib.util.find_spec("torch") is not None
    names = " ".join(
        module
        for module in MODULES
        if not module.endswith("__main__")
        and (torch or not module.startswith(("koed.engine.gpt_sovits.", "koed.bench.engine.")))
    )
    ours = ":".join(str(source / package) for package, source in SOURCES.items())
    done = subprocess.run(
        # An argument that no parser of ours knows: parsing at import would end the interpreter.
        [sys.executable, "-B", "-c", WATCHED_IMPORT, names, ours, "--no-such-argument"],
        capture_output=True, text=True, check=False, timeout=300, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stdout.strip(), done.stdout
    assert not done.stderr.strip(), done.stderr


NO_MIRROR = {"daemon", "daemon/patched", "parity", "rigs"}
"""Folders of tests that belong to no one folder: a whole daemon, the official model beside ours,
and what tests share."""


def test_tests_mirror_the_folders() -> None:
    tests = REPOSITORY / "tests"
    folders = {path.parent.relative_to(tests) for path in tests.rglob("*.py")} - {Path()}
    homes = [REPOSITORY / "daemon/koed", REPOSITORY / "clients", REPOSITORY / "tools"]
    strays = [f for f in map(str, folders) if not any((home / f).is_dir() for home in homes)]
    assert set(strays) <= NO_MIRROR


def test_names_of_test_files_differ() -> None:
    """pytest takes two files of one name in different folders for the same module."""
    names = [path.name for path in (REPOSITORY / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
