#!/usr/bin/env bash
# Builds the wheel and tries the base install, the thin client, in a fresh environment: what a chat
# bot gets from pip must work with pyzmq and msgpack alone.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/pip.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "== the wheel"
rm -rf dist
.venv/bin/python -m pip --disable-pip-version-check -q wheel . --no-deps --no-build-isolation -w dist
wheel=$(echo dist/koed-*.whl)
.venv/bin/python - "$wheel" <<'PYTHON'
import pathlib
import sys
import zipfile

names = set(zipfile.ZipFile(sys.argv[1]).namelist())
wanted = {f"koed/_profiles/{p.name}" for p in pathlib.Path("profiles").glob("*.yaml")}
for folder, package in (("daemon/koed", "koed"), ("clients/koe", "koe")):
    root = pathlib.Path(folder)
    wanted |= {f"{package}/{p.relative_to(root).as_posix()}" for p in root.rglob("*.py")}
assert wanted, "no sources"
if missing := sorted(wanted - names):
    sys.exit(f"the wheel lacks {missing}")
print(f"{sys.argv[1]}: {len(names)} files")
PYTHON

echo "== the thin client"
python3=$(readlink -f .venv/bin/python)
"$python3" -m venv "$work/venv"
if ! run_pip "$work/venv/bin/python" -q install -c constraints.txt "$wheel"; then
  say_unreached echo >&2
  exit 1
fi
cd "$work" # not the checkout: only what was installed is found
venv/bin/koe --help >/dev/null
venv/bin/python - <<'PYTHON'
import importlib.metadata
import sys

import koe
import koe.cli

heavy = {"numpy", "torch", "pyaudio", "yaml", "koed"} & set(sys.modules)
assert not heavy, f"import koe loads {heavy}"
have = sorted(d.name.lower() for d in importlib.metadata.distributions())
extra = set(have) - {"koed", "msgpack", "pyzmq", "pip", "setuptools", "wheel"}
assert not extra, f"the base install brings {extra}"
print("koe works with", ", ".join(have))
PYTHON

# Nobody is there to talk to: exit code 3, and a sentence instead of a traceback.
rc=0
said=$(KOED_RUNTIME_DIR=$work/none timeout 20 venv/bin/koe status 2>&1) || rc=$?
echo "koe status without a daemon: exit $rc: $said"
[ "$rc" -eq 3 ] && [[ $said != *Traceback* ]]
