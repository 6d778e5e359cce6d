# shellcheck shell=bash disable=SC2154
# The Python environment .venv. Sourced by setup.sh.
#
# Notes of what is done lie in .venv/.koed and vanish with it: "home" holds the folder that the
# environment was made in, and one file per set of extras holds the fingerprint it was installed by.

notes=.venv/.koed
unfinished=build/venv-unfinished

version_of() { "$1" -S -E -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# Sets python and python_version: $PYTHON, else python3 if new enough, else the newest there is.
find_python() {
  local found
  if [ -n "${PYTHON:-}" ]; then
    python=$PYTHON
  elif [ "$venv" = ready ]; then
    python=.venv/bin/python
  else
    python=python3
    for found in python3.14 python3.13 python3.12 python3.11; do
      new_enough "$(version_of python3)" && break
      command -v "$found" >/dev/null && python=$found && break
    done
  fi
  python_version=$(version_of "$python") || python_version=none
  new_enough "$python_version" && return 0
  fail "koed needs Python 3.11 or newer; $python is ${python_version/none/not there}." \
    "Install one beside it (Debian, Ubuntu: sudo apt-get install python3.11 python3.11-venv" \
    "python3.11-dev; or https://docs.astral.sh/uv/: uv python install 3.12), then: make PYTHON=python3.11 ..."
}

new_enough() {
  local major=${1%%.*} minor=${1#*.}
  [[ $1 =~ ^[0-9]+\.[0-9]+$ ]] && ((major > 3 || (major == 3 && minor >= 11)))
}

# Sets venv to: ready; moved (made in another folder, or for a Python that is gone); none.
look_at_venv() {
  venv=none
  if [ -f "$notes/home" ]; then
    venv=moved
    # The folder of the packages has the version in its name: a new system Python leaves it behind.
    [ "$(<"$notes/home")" = "$PWD $(version_of .venv/bin/python)" ] && venv=ready
  elif [ ! -e "$unfinished" ] && grep -qsF "$PWD/.venv" .venv/bin/activate &&
    .venv/bin/python -m pip --version >/dev/null 2>&1; then
    venv=ready # made by hand: used as it is
    note_home
  fi
  return 0
}

note_home() {
  mkdir -p "$notes"
  printf '%s %s' "$PWD" "$(version_of .venv/bin/python)" >"$notes/home"
}

pyaudio_is_built() {
  [ "$venv" = ready ] && compgen -G '.venv/lib/python*/site-packages/pyaudio/*.so' >/dev/null
}

make_venv() {
  if [ "$venv" = ready ]; then
    [ "$(version_of .venv/bin/python)" = "$python_version" ] && return 0
    say ".venv has another Python than $python: it is made anew"
  elif [ "$venv" = moved ]; then
    say ".venv was made in another folder, or its Python is gone: it is made anew"
  fi
  : >"$unfinished"
  rm -rf .venv
  step "making .venv with $python (Python $python_version)" "$python" -m venv .venv ||
    fail "no Python environment can be made here; see the lines above"
  note_home
  rm -f "$unfinished"
}

# install_project EXTRAS
install_project() {
  local extras=$1 note fingerprint
  note=$notes/$extras
  fingerprint=$(cat pyproject.toml constraints.txt | sha256sum)
  [ -f "$note" ] && [ "$(<"$note")" = "$fingerprint" ] && return 0
  rm -f "$note"
  step "installing koed[$extras] into .venv (a minute or less the first time)" pip_install "$extras" ||
    fail_pip
  printf '%s' "$fingerprint" >"$note"
}

pip_install() {
  # The build tools have exact versions too, so nothing is built in an environment of its own.
  run_pip .venv/bin/python install -c constraints.txt hatchling setuptools wheel &&
    run_pip .venv/bin/python install -c constraints.txt --no-build-isolation -e ".[$1]"
}

# install_speaker_judge : it asks for torch and a compiler without need.
install_speaker_judge() {
  local note=$notes/resemblyzer fingerprint
  fingerprint=$(sha256sum <constraints.txt)
  [ -f "$note" ] && [ "$(<"$note")" = "$fingerprint" ] && return 0
  step "installing what tells speakers apart (17 MB)" \
    run_pip .venv/bin/python install -c constraints.txt --no-deps resemblyzer || fail_pip
  printf '%s' "$fingerprint" >"$note"
}

fail_pip() {
  say_unreached say
  offline && fail "the set-up ends here"
  fail "pip could not install koed; see the lines above"
}

# zeromq.js for the test of the README's JavaScript example.
install_javascript() {
  local dir=clients/examples note fingerprint
  [ -f $dir/package.json ] || return 0
  note=$dir/node_modules/.koed
  fingerprint="$PWD $(cat $dir/package*.json | sha256sum)"
  [ -f $note ] && [ "$(<$note)" = "$fingerprint" ] && return 0
  step "installing zeromq.js into $dir/node_modules" npm_install $dir ||
    fail "npm could not install zeromq.js; see the lines above"
  printf '%s' "$fingerprint" >$note
}

npm_install() {
  (cd "$1" && npm install --ignore-scripts --no-audit --no-fund --no-package-lock)
}
