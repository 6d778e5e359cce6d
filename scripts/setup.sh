#!/usr/bin/env bash
# Makes this checkout ready for one goal: run, demo, proof, bench, test, test-pipewire
# or lint.
#
# Safe to interrupt and to repeat: a step is noted as done only after it is done, and a checkout
# that is ready is found so in a few hundredths of a second. System packages are looked for by the
# files that are used, not by name, so that any distribution that has them will do.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/natural.sh
. scripts/pip.sh
. scripts/system.sh
. scripts/venv.sh

say() { printf 'koed set-up: %s\n' "$*" >&2; }

fail() {
  local line
  for line in "$@"; do say "$line"; done
  exit 1
}

# step TEXT COMMAND... : runs a long command quietly, shows how long it took, and its end if it
# fails. The whole output stays in the log.
log=build/setup.log
step() {
  local text=$1 start=$SECONDS
  shift
  say "$text ..."
  if "$@" >"$log" 2>&1 </dev/null; then
    say "    done in $((SECONDS - start)) s"
    return 0
  fi
  # Where pip reaches nothing, its last lines are about something else.
  [ "$1" = pip_install ] && offline || tail -n 15 "$log" | sed 's/^/    | /' >&2
  say "    failed after $((SECONDS - start)) s; the whole output is in $log"
  return 1
}

mkdir -p build
# Two set-ups at once wait for each other (the lock goes with this process).
if command -v flock >/dev/null; then
  exec 9>build/setup.lock
  flock 9
fi

goal=${1:-run}
case $goal in
  run | bench | proof) extras=daemon,embedded,metrics,bridges,hotkeys,obs ;;
  demo) extras=daemon,embedded,metrics,bridges,hotkeys,obs,demo ;;
  test | test-pipewire | lint)
    extras=daemon,embedded,metrics,bridges,hotkeys,obs,demo,gpt-sovits,dev ;;
  *) fail "unknown goal '$goal': run, demo, proof, bench, test, test-pipewire or lint" ;;
esac
# torch is large: only who measures the neural voice gets it.
case "$goal ${*:2} " in
  bench*' engine '* | bench*' memory '* | bench*' words '*) extras=$extras,gpt-sovits ;;
  bench*' voices '*) extras=$extras,demo,judges ;;
esac

look_at_venv
choose_voice
find_python
need_for_venv
case "$goal ${*:2} " in
  bench*' air'*) need_for_speech && need_obs && need_pulseaudio ;;
esac
case $goal in
  run | demo | bench) need_for_speech ;;
  proof) need_for_speech && need_obs && need_pulseaudio ;;
  test) need_for_speech && need_for_tests && need_obs && need_pulseaudio ;;
  test-pipewire) need_for_speech && need_for_tests && need_obs && need_pipewire ;;
esac
install_missing

make_venv
install_project "$extras"
case "$goal ${*:2} " in
  run* | bench*' voices '*) [ "$voice" = small ] || try_natural ;;
esac
case "$goal ${*:2} " in
  bench*' voices '*) install_speaker_judge ;;
  test*)
    install_natural || fail_natural
    install_javascript
    ;;
esac
keep_voice
