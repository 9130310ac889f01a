#!/usr/bin/env bash
# One machine's side of launch/tpu_vm.sh, which types these over ssh. What is started here outlives
# the connection; its log and its exit code are in runs/worker.
#
#   bash launch/worker.sh install            .venv with Python 3.11 and rec_align[tpu]
#   bash launch/worker.sh start COMMAND...   in the background; twice the same is once
#   bash launch/worker.sh follow             shows the log until the command ends
#   bash launch/worker.sh status             its exit code, or running, or none
#   bash launch/worker.sh stop               asks it to save and to end (SIGTERM)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
here="$PWD/runs/worker"

running() { # the command is the leader of a process group of its own
  [ -e "$here/pid" ] && kill -0 -- "-$(cat "$here/pid")" 2>/dev/null
}

install() {
  if [ ! -x .venv/bin/python ]; then # a TPU VM's own Python is older than 3.11
    python3 -m pip install --quiet --target .uv uv
    .uv/bin/uv venv --quiet --seed --python 3.11 .venv
  fi
  source launch/setup.sh
  setup "[tpu]"
}

start() {
  local command
  printf -v command '%q ' "$@"
  mkdir -p "$here"
  if running; then
    [ "$(cat "$here/command")" = "$command" ] && return
    echo "$(hostname) still runs $(cat "$here/command"): stop it first" >&2
    exit 1
  fi
  rm -f "$here/exit_code"
  echo "$command" >"$here/command"
  # The outer bash lives through the signal that stops the command, to write down the exit code.
  # shellcheck disable=SC2016 # expanded by that bash
  PATH="$PWD/.venv/bin:$PATH" setsid bash -c \
    'trap : TERM INT; code=0; "$@" || code=$?; echo "$code" >"$0"' "$here/exit_code" "$@" \
    >"$here/log" 2>&1 </dev/null &
  echo $! >"$here/pid"
  until running || [ -e "$here/exit_code" ]; do sleep 0.1; done
}

follow() {
  tail -n 50 -s 0.2 -F --pid="$(cat "$here/pid")" "$here/log"
}

status() {
  if running; then echo running; else cat "$here/exit_code" 2>/dev/null || echo none; fi
}

stop() {
  if running; then kill -TERM -- "-$(cat "$here/pid")"; fi
}

case "${1:-}" in
  install | start | follow | status | stop) "$@" ;;
  *) echo "worker.sh: install, start, follow, status or stop, not '${1:-}'" >&2 && exit 2 ;;
esac
