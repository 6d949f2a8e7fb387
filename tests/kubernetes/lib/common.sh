# Settings, messages, bounded waits, and processes kept by pid. Sourced by kit and node.sh.
# shellcheck shell=bash

# A slot keeps clusters on one machine apart: it sets their device names and networks.
export KIT_SLOT=${KIT_SLOT:-0}
[[ $KIT_SLOT =~ ^[0-9]$ ]] || { echo "kit: KIT_SLOT must be 0 to 9" >&2; exit 2; }
slot_suffix=
[[ $KIT_SLOT == 0 ]] || slot_suffix=-$KIT_SLOT
KIT_RUN=$(realpath -m -- "${KIT_RUN:-/tmp/switchboard-kit$slot_suffix}")
KIT_CACHE=$(realpath -m -- "${KIT_CACHE:-${HOME:?}/.cache/switchboard-kit}")
export KIT_RUN KIT_CACHE
export WAIT=${KIT_WAIT:-120} # seconds that any one wait may take

NODE_NET=10.200.$KIT_SLOT          # /24: .1 is this machine, .1N is node N
POD_NET=10.$((244 + KIT_SLOT))     # /16: node N's pods have .(N-1).0/24
SERVICE_NET=10.$((96 + KIT_SLOT))  # /16
BRIDGE=kit$KIT_SLOT
export NODE_NET POD_NET SERVICE_NET BRIDGE

node_name() { echo "node$1"; }
node_ip() { echo "$NODE_NET.$((10 + $1))"; }
node_netns() { echo "kit$KIT_SLOT-node$1"; } # the network namespace's name, and the cgroup's
pod_cidr() { echo "$POD_NET.$(($1 - 1)).0/24"; }

started_at=${EPOCHREALTIME/[.,]/}
say() { # on stderr: stdout is for what a caller captures
  local ms=$(((${EPOCHREALTIME/[.,]/} - started_at) / 1000))
  printf '[%3d.%02d s] %s\n' $((ms / 1000)) $((ms % 1000 / 10)) "$*" >&2
}
fail() {
  echo "kit: $*" >&2
  exit 1
}

need_root() { [[ $EUID == 0 ]] || fail "must be root: namespaces, mounts and cgroups"; }

need_commands() {
  local c missing=()
  for c; do command -v "$c" >/dev/null || missing+=("$c"); done
  [[ ${#missing[@]} == 0 ]] || fail "not found: ${missing[*]} (kit install)"
}

HOPELESS=9 # what a command that is waited for returns when waiting is no use
await() { # SECONDS WHAT COMMAND...: polls until the command succeeds
  local end=$((SECONDS + $1)) what=$2 result
  shift 2
  while true; do
    result=0
    "$@" >/dev/null 2>&1 || result=$?
    [[ $result != 0 ]] || return 0
    if ((result == HOPELESS || SECONDS >= end)); then
      echo "kit: gave up waiting for $what" >&2
      return 1
    fi
    sleep 0.1
  done
}

# A process is known by its pid and its start time, so that a pid that the
# kernel has given to another process since is never signalled.
start_time() { # PID: empty if it is gone or a zombie
  local stat fields
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
  read -ra fields <<<"${stat##*) }" # the name, in brackets, may hold spaces
  [[ ${fields[0]} == Z ]] || echo "${fields[19]}"
}

record() { # PIDFILE PID
  echo "$2 $(start_time "$2")" >"$1"
}

running() { # PIDFILE
  local pid born=
  [[ -f $1 ]] || return 1
  read -r pid born <"$1" || true
  [[ -n $born && $(start_time "$pid") == "$born" ]]
}

stopped() { ! running "$1"; }

stop() { # PIDFILE SIGNAL...: each signal in turn, 10 s for each to work
  local file=$1 signal
  for signal in "${@:2}"; do
    running "$file" || break
    kill "-$signal" "$(cut -d' ' -f1 "$file")" 2>/dev/null || true
    await 10 "$(basename "$file" .pid) to end on SIG$signal" stopped "$file" || true
  done
  stopped "$file" || return 1
  rm -f "$file"
}

start() { # NAME COMMAND...: in the background, in a session of its own
  local name=$1
  shift
  setsid "$@" >"$STATE/log/$name.log" 2>&1 </dev/null &
  record "$STATE/pid/$name.pid" $!
}

# Says what has died, with the end of its log.
check_running() {
  local file name dead=0
  for file in "$STATE"/pid/*.pid; do
    running "$file" && continue
    name=$(basename "$file" .pid)
    echo "kit: $name has ended; the end of $STATE/log/$name.log:" >&2
    tail -n 8 "$STATE/log/$name.log" >&2 || true
    dead=1
  done
  return $dead
}
