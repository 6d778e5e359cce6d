#!/usr/bin/env bash
# make test-debian13: a fresh Debian 13 in a temporary folder, where a clone of this checkout does
# what a newcomer does: make run, speak, make test. ARGS goes to that make test.
#
# Packages come from the mirror, and Python's from the index, that this machine uses itself. All
# runs in namespaces of its own: mounts and processes go with them however this ends, and the folder
# is then nothing but files. Where that cannot be done it says why in one line and is content.
set -euo pipefail
self=$(realpath "$0")
cd "$(dirname "$0")/.."
. scripts/system.sh

PATH=$PATH:/usr/lib/apt # apt-helper
suite=trixie
room_gb=14
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'debian13: %s\n' "$*" >&2; }
cannot() {
  say "not tried: $*"
  exit 0
}
fail() { cannot "it needs ${missing[*]}, which cannot be installed here"; } # for system.sh

# step TEXT COMMAND... : shows how long it took, and its end if it fails.
step() {
  local text=$1 start=$SECONDS log=build/debian13.log
  shift
  say "$text ..."
  if "$@" >"$log" 2>&1 </dev/null; then
    say "    done in $((SECONDS - start)) s"
    return 0
  fi
  tail -n 15 "$log" | sed 's/^/    | /' >&2
  return 1
}

# --- what this machine has -------------------------------------------------------------------

# Prints the first of this machine's mirrors that has the suite.
find_mirror() {
  local found uri
  found=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | sort -u)
  for uri in $found; do
    [[ $uri == http* ]] || continue
    apt-helper download-file "${uri%/}/dists/$suite/InRelease" "$work/InRelease" \
      >/dev/null 2>&1 || continue
    printf '%s' "${uri%/}"
    return 0
  done
  return 1
}

# What apt, pip and npm are told on this machine about ways to the outside.
bring_settings() {
  local to=$1 file
  cp -L /etc/resolv.conf "$to/etc/"
  apt-config dump | grep -E '^Acquire::(https?|Check|Retries)' >"$to/etc/apt/apt.conf.d/90outside" || true
  for file in /usr/local/share/ca-certificates/*.crt /etc/ssl/certs/ca-certificates.crt \
    /etc/pip.conf "${SSL_CERT_FILE:-}" "${PIP_CERT:-}" "${REQUESTS_CA_BUNDLE:-}" \
    "${NODE_EXTRA_CA_CERTS:-}"; do
    if [ -f "$file" ]; then
      mkdir -p "$to$(dirname "$file")"
      cp -L "$file" "$to$file"
    fi
  done
  for file in .config/pip/pip.conf .pip/pip.conf .npmrc; do
    if [ -f "$HOME/$file" ]; then
      mkdir -p "$(dirname "$to/root/$file")"
      cp -L "$HOME/$file" "$to/root/$file"
    fi
  done
}

# Runs a command in the new system, with nothing of this one but those settings.
there() {
  local keep
  mapfile -t keep < <(env | grep -E \
    '^(https?_proxy|HTTPS?_PROXY|no_proxy|NO_PROXY|PIP_[A-Z_]+|(npm_config|NPM_CONFIG)_[A-Za-z_]+|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|NODE_EXTRA_CA_CERTS)=')
  chroot "$dir" /usr/bin/env -i HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" ARGS="${ARGS:-}" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${keep[@]}" "$@"
}

# --- the new system, in its namespaces -------------------------------------------------------

make_it() {
  local proxy=
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  [ -z "$proxy" ] || export http_proxy=$proxy # debootstrap does not read apt's settings
  debootstrap --variant=minbase --keyring="$keyring" --cache-dir="$cache/apt" \
    --include=git,make,python3,ca-certificates,sudo "$suite" "$dir" "$mirror"
}

mount_it() {
  mount --bind /dev "$dir/dev"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$dir/dev/pts"
  mount -t tmpfs tmpfs "$dir/dev/shm"
  mountpoint -q "$dir/proc" || mount -t proc proc "$dir/proc"
  # Downloads are kept, for both check what they find there. Wheels that were built are not: that
  # they can be built is part of the test.
  mkdir -p "$dir/root/.cache/pip/http-v2"
  mount --bind "$cache/apt" "$dir/var/cache/apt/archives"
  mount --bind "$cache/pip" "$dir/root/.cache/pip/http-v2"
}

inside() {
  trap 'exit 143' TERM INT HUP
  step "making a Debian 13 in $dir" make_it
  bring_settings "$dir"
  mount_it
  git clone -q . "$dir/opt/koed"
  there bash -c "cd /opt/koed && exec bash scripts/debian13.sh newcomer"
}

# What is done there: the first two commands of the README, and the tests.
newcomer() {
  local daemon
  set -m # the daemon gets a process group: it is ended as a shell or `timeout` does it
  make run &
  daemon=$!
  until .venv/bin/koe status >/dev/null 2>&1; do
    kill -0 "$daemon" || exit 1
    sleep 0.5
  done
  .venv/bin/koe say hello --wait
  kill -TERM -- "-$daemon"
  wait "$daemon" || true
  set +m
  say "make run spoke; now make test"
  exec make test ARGS="$ARGS"
}

# --- from outside ----------------------------------------------------------------------------

end() {
  [ -z "$running" ] || kill -KILL "$running" 2>/dev/null || true
  wait
  # in a session of its own: it is not killed with us if our time is over
  setsid rm -rf --one-file-system "$work" &
  wait
}

outside() {
  [ "$(id -u)" -eq 0 ] || cannot "only root can make a system to change into"
  command -v apt-get >/dev/null || cannot "this is neither Debian nor Ubuntu"
  unshare --mount --pid --fork --mount-proc true 2>/dev/null ||
    cannot "namespaces cannot be made here"
  work=$(mktemp -d "${TMPDIR:-/var/tmp}/koed-debian13.XXXXXX")
  running=
  trap end EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  [ "$(df --output=avail -B1G "$work" | tail -n 1)" -ge "$room_gb" ] ||
    cannot "$work has less than $room_gb GB of room"
  mirror=$(find_mirror) || cannot "none of this machine's package mirrors has Debian 13"
  mkdir -p build
  need_command debootstrap "makes a Debian" debootstrap
  need debian-archive-keyring "the keys of its packages" "$keyring"
  install_missing
  [ -z "$(git status --porcelain)" ] || say "note: what is not committed is not tried"
  dir=$work/system
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/koed/debian13
  mkdir -p "$dir" "$cache/apt" "$cache/pip"
  export mirror dir cache
  unshare --mount --pid --fork --kill-child --mount-proc bash "$self" inside </dev/null &
  running=$!
  wait "$running"
}

case ${1:-} in
  inside | newcomer) "$1" ;;
  *) outside ;;
esac; exit # on one line: bash reads no further, should this file be changed meanwhile
