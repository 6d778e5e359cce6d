# shellcheck shell=bash
# pip, and why it failed. Sourced by setup.sh and check_package.sh.
#
# Where no index answers, pip forgets why and ends in "conflicting dependencies". Its own log, with
# every page that it asked for, still knows.

pip_log=build/pip.log

# run_pip PYTHON ARGUMENTS... : notes all that it does in $pip_log, which begins anew. It ends with
# 124 where it takes longer than $pip_limit_s seconds.
run_pip() {
  local python=$1
  shift
  rm -f "$pip_log"
  # In the foreground: Ctrl-C reaches pip.
  ${pip_limit_s:+timeout --foreground "$pip_limit_s"} "$python" -m pip --disable-pip-version-check --log "$pip_log" "$@"
}

# One line for each index that could not be asked: its address, and why. Not those that answered
# that they do not have something (404).
unreached() {
  [ -f "$pip_log" ] || return 0
  # A page's address ends in the name of a package; of the reason only its end is for people.
  sed -nE \
    -e '/Could not fetch URL [^ ]+: 404 /d' \
    -e "s/^.*The repository located at ([^ ]+) is not a trusted or secure host.*/\1: it is no https, and not asked/p;t" \
    -e 's/^.*Could not fetch URL ([^ ]+)\/[^\/ ]+\/: (.*) - skipping.*/\1: \2/;T' \
    -e 's/: .*Cannot connect to proxy.*\[Errno/: its proxy: [Errno/' \
    -e "s/: (its proxy: )?.*\[Errno [-0-9]+\] ([^')]*).*/: \1\2/" \
    -e 's/: .*(Cannot connect to proxy|Connection to [^ ]+ timed out|Read timed out).*/: \1/' \
    -e 's/: .*\[SSL: [A-Z_]+\] ([^(]*) \(.*/: \1/' \
    -e 'p' "$pip_log" | sort -u
}

# Whether that is the reason, and whatever pip said at last is not: no index answered.
offline() {
  [ -n "$(unreached)" ] && ! grep -q 'Fetched page' "$pip_log"
}

# say_unreached SAY : the above for people, each line through the command SAY; nothing if pip
# reached what it wanted.
say_unreached() {
  local lines line
  mapfile -t lines < <(unreached)
  [ ${#lines[@]} -gt 0 ] || return 0
  "$1" "pip could not reach:"
  for line in "${lines[@]}"; do "$1" "    $line"; done
  "$1" "Is this machine connected? Behind a proxy: export https_proxy=http://ADDRESS:PORT; another"
  "$1" "index: export PIP_INDEX_URL=https://...; packages in a folder: export PIP_FIND_LINKS=FOLDER"
  "$1" "PIP_NO_INDEX=1. Then run make again: what is done already stays."
}
