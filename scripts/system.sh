# shellcheck shell=bash disable=SC2154
# System packages: what is missing, why it is needed, and how to get it. Sourced by setup.sh.

missing=() # Debian names
reasons=() # one line each

# need PACKAGE REASON PATH... : PATH is a file name or a pattern; one that exists is enough.
need() {
  local package=$1 reason=$2 pattern
  shift 2
  for pattern in "$@"; do
    compgen -G "$pattern" >/dev/null && return 0
  done
  missing+=("$package")
  reasons+=("$reason")
}

# need_command PACKAGE REASON COMMAND
need_command() {
  command -v "$3" >/dev/null && return 0
  missing+=("$1")
  reasons+=("$2")
}

# Library folders of Debian's and of other distributions.
libs=(/usr/lib/*-linux-gnu* /usr/lib64 /usr/lib /usr/local/lib)
lib() { local d; for d in "${libs[@]}"; do printf '%s/%s\n' "$d" "$1"; done; }

need_lib() {
  local paths
  mapfile -t paths < <(lib "$3")
  need "$1" "$2" "${paths[@]}"
}

need_for_venv() {
  # Only what builds .venv: once it stands, it is not asked for again.
  [ "$venv" = ready ] && return 0
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing+=("python$python_version-venv")
    reasons+=("makes the Python environment .venv")
  fi
}

need_for_speech() {
  need_lib libflite1 "the English voices" 'libflite_cmu_us_slt.so.1'
  need_command espeak-ng "the voices of other languages" espeak-ng
  need_lib libasound2-plugins "PortAudio's way to PulseAudio and PipeWire" \
    'alsa-lib/libasound_module_pcm_pulse.so'
  need_lib libportaudio2 "sound output" 'libportaudio.so.2'
  pyaudio_is_built && return 0
  # PyAudio comes as source.
  need portaudio19-dev "PortAudio headers, to build PyAudio" /usr/{local/,}include/portaudio.h
  need_command gcc "C compiler, to build PyAudio" gcc
  need libc6-dev "C headers, to build PyAudio" /usr/include/stdio.h
  local include
  include=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
  need "python$python_version-dev" "Python headers, to build PyAudio" "$include/Python.h"
}

need_for_tests() {
  need_command nodejs "the test that speaks the wire from JavaScript" node
  need_command npm "installs zeromq.js for that test" npm
  if pyaudio_is_built; then # else it was asked for already
    need_command gcc "C compiler, for tests that step the clock and watch the network" gcc
    need libc6-dev "C headers, for the same" /usr/include/stdio.h
  fi
  need_command chromium "a browser, to play the hostile web page" chromium
  need_command xclip "has the clipboard that a hotkey speaks" xclip
  need_command openssl "makes the certificate of a test server" openssl
  need_command systemd "checks the service units" systemd-analyze
  need_command util-linux "gives the tested systemd a namespace of its own" unshare
}

need_obs() {
  need_command obs-studio "the OBS that the tests start" obs
  # Debian's OBS has its websocket server here; elsewhere it is part of OBS itself.
  need_lib obs-plugins "its websocket server and sound capture" 'obs-plugins/obs-websocket.so'
  need_command xvfb "the screen that nobody sees" Xvfb
  need_command xdotool "presses keys and looks at windows there" xdotool
  need_lib libgl1-mesa-dri "draws for OBS without a graphics card" 'dri/swrast_dri.so'
  need_command imagemagick "takes a picture of that screen" import
  need fonts-dejavu-core "the letters of captions in tests" \
    /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf /usr/share/fonts/*/dejavu*/DejaVuSans.ttf \
    /usr/share/fonts/dejavu*/DejaVuSans.ttf
  need_command ffmpeg "looks into what OBS recorded" ffmpeg
}

need_pulseaudio() {
  local refused=(/usr/share/alsa/alsa.conf.d/*pipewire*)
  if ! command -v pulseaudio >/dev/null && [ -e "${refused[0]}" ]; then
    # Debian lets only one of the two be installed, and the desktop's sound hangs on the other.
    say "note: pulseaudio cannot be installed beside pipewire-alsa; if apt refuses below,"
    say "      use make test-pipewire, which needs no change to your sound."
  fi
  need_command pulseaudio "the sound server that the tests start" pulseaudio
  need_command pulseaudio-utils "asks it what it plays" pactl
}

need_pipewire() {
  need_command pipewire "the sound server that the tests start" pipewire
  need_command pipewire-bin "its tools" pw-link
  need_command pipewire-pulse "its PulseAudio side" pipewire-pulse
  need_command wireplumber "its session manager" wireplumber
  need_command dbus "the bus that it needs" dbus-daemon
  need_command pulseaudio-utils "asks it what it plays" pactl
}

# Installs what is missing, or prints the one command to type and ends the set-up.
install_missing() {
  [ ${#missing[@]} -eq 0 ] && return 0
  local i rights
  say "this system lacks:"
  for i in "${!missing[@]}"; do
    say "$(printf '    %-22s %s' "${missing[i]}" "${reasons[i]}")"
  done
  if ! command -v apt-get >/dev/null; then
    fail "install these with your package manager (the names are Debian's), then run make again"
  fi
  rights=$(how_to_be_root) || fail "no rights to install them here. Type this, then run make again:" \
    "    sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
  # The first try is with the lists as they are: an update takes longer than the installation.
  step "installing them${rights:+ with sudo}" apt_install "$rights" && return 0
  step "reading the package lists anew" apt_get "$rights" update || true
  step "installing them" apt_install "$rights" && return 0
  fail "apt could not install them. Type this and see what it says:" \
    "    sudo apt-get install --no-install-recommends ${missing[*]}"
}

# Prints "sudo" or nothing; fails where there is no way.
how_to_be_root() {
  [ -z "${KOED_NO_INSTALL:-}" ] || return 1
  [ "$(id -u)" -ne 0 ] || return 0
  command -v sudo >/dev/null || return 1
  # Asks for the password here, where it can be seen; a script without a terminal is not asked.
  if sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; then
    echo sudo
    return 0
  fi
  return 1
}

apt_get() {
  local rights=$1
  shift
  ${rights:+"$rights"} env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=600 -q "$@"
}

apt_install() {
  # --no-remove: rather no koed than a package of yours taken away for it.
  apt_get "$1" install -y --no-install-recommends --no-remove "${missing[@]}"
}
