#!/usr/bin/env bash
# Trains on a Cloud TPU VM or pod slice, from asking for it to the results. Needs gcloud, logged in.
#
#   export TPU_NAME=xl TPU_ZONE=us-east5-b TPU_TYPE=v6e-16   # and TPU_PROJECT, else gcloud's own
#   bash launch/tpu_vm.sh create --spot          asks for the TPU and waits until it is there
#   bash launch/tpu_vm.sh install                this checkout's HEAD, in a venv on every worker
#   bash launch/tpu_vm.sh run -- python -m rec_align.train --multihost \
#     --gin_file=gin/models/xl.gin --gin_file=gin/runs/finetune.gin \
#     --gin.MIXTURE_OR_TASK_NAME="'my_shop_aligned'" --gin.MODEL_DIR="'gs://bucket/xl'" ...
#   bash launch/tpu_vm.sh resume --spot -- COMMAND   all three, and again after each pre-emption
#   bash launch/tpu_vm.sh follow                 worker 0's log again, until the command ends
#   bash launch/tpu_vm.sh stop                   asks the command to save and to end
#   bash launch/tpu_vm.sh fetch gs://bucket/xl   its results, without checkpoints, into runs/xl
#   bash launch/tpu_vm.sh delete
#
# --dry-run prints what would be typed. --name, --zone, --type, --project and --runtime=VALUE win
# over TPU_NAME and so on. The command runs on every worker, in the checkout, and outlives ssh.
set -euo pipefail
script="$(cd "$(dirname "$0")" && pwd)/tpu_vm.sh"
cd "$(dirname "$0")/.."
exec 3>&1 # dry runs print here, even where output is captured
trap 'exit 130' INT
poll="${TPU_POLL_SECONDS:-30}"
# A TPU that is being pre-empted looks ready for a while after its programs have died.
patience="${TPU_PATIENCE_SECONDS:-300}"

fail() {
  echo "tpu_vm.sh: $*" >&2
  exit 1
}

need() { # need NAME MEANING: an option that a verb cannot do without
  local variable="TPU_$1"
  [ -n "${!variable:-}" ] ||
    fail "no $2: give --$(tr '[:upper:]' '[:lower:]' <<<"$1")=VALUE or set $variable"
}

dry() { [ -n "${TPU_DRY_RUN:-}" ]; }

typed() { # a word as one would type it
  case "$1" in
    *[!A-Za-z0-9_./:=,@%+-]*) sed "s/'/'\\\\''/g; 1s/^/'/; \$s/\$/'/" <<<"$1" ;;
    *) echo "$1" ;;
  esac
}

act() { # act COMMAND...: runs it, or prints it
  if ! dry; then
    "$@"
    return
  fi
  local word line=
  for word in "$@"; do line="$line $(typed "$word")"; done
  echo "${line# }" >&3
}

tpus() { # tpus ARGUMENTS...: gcloud compute tpus, in the zone and the project
  need ZONE "zone of the TPU, such as us-east5-b"
  act gcloud compute tpus "$@" --zone="$TPU_ZONE" ${TPU_PROJECT:+--project="$TPU_PROJECT"}
}

on() { # on WORKERS LINE: types a line on one worker, or on all
  tpus tpu-vm ssh "$TPU_NAME" --worker="$1" --command="$2" </dev/null
}

listed() { # listed KIND FIELD: a field of the TPU, nothing where there is no such TPU
  tpus "$1" list --filter="name~(^|/)$TPU_NAME\$" --format="value($2)"
}

condition() { # ready, changing, lost, failed or absent; an error where gcloud cannot tell
  local state
  state="$(listed tpu-vm state)" || return
  [ -n "$state" ] || state="$(listed queued-resources state.state)" || return
  case "$state" in
    READY) echo ready ;;
    PREEMPTED | TERMINATED | STOPPED | SUSPENDED) echo lost ;;
    FAILED) echo failed ;;
    "") echo absent ;;
    *) echo changing ;; # in the queue, being made, repaired or taken away
  esac
}

runtime() { # the system image of a type
  case "$TPU_TYPE" in
    v6e-*) echo v2-alpha-tpuv6e ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v[234]-*) echo tpu-ubuntu2204-base ;;
    *) fail "no runtime is known for type $TPU_TYPE: give --runtime=VALUE" ;;
  esac
}

create() {
  need TYPE "type of TPU, such as v6e-16 or v5litepod-64"
  local runtime now
  runtime="${TPU_RUNTIME:-$(runtime)}"
  now="$(condition)"
  while [ "$now" != ready ]; do
    case "$now" in
      absent)
        tpus queued-resources create "$TPU_NAME" --node-id="$TPU_NAME" \
          --accelerator-type="$TPU_TYPE" --runtime-version="$runtime" ${TPU_SPOT:+--spot}
        ;;
      lost) delete || true ;; # refused while it is being taken away: asked again below
      failed) fail "the request for $TPU_NAME failed; why says: gcloud compute tpus \
queued-resources describe $TPU_NAME --zone=$TPU_ZONE. Then delete it." ;;
    esac
    if dry; then return; fi
    sleep "$poll"
    now="$(condition)" || now=unknown
  done
}

install() {
  local uncommitted archive="runs/$TPU_NAME.tar.gz"
  uncommitted="$(git status --porcelain)"
  [ -z "$uncommitted" ] || printf 'not committed, so not installed:\n%s\n' "$uncommitted" >&2
  act mkdir -p runs
  act git archive --format=tar.gz --output="$archive" HEAD
  tpus tpu-vm scp "$archive" "$TPU_NAME:rec_align.tar.gz" --worker=all
  on all "mkdir -p rec_align && tar -xzf rec_align.tar.gz -C rec_align && \
bash rec_align/launch/worker.sh install"
}

outlives_tpu() { # does the command save on a bucket?
  local word
  for word in "$@"; do
    case "$word" in *MODEL_DIR=*gs://*) return ;; esac
  done
  echo "tpu_vm.sh: no MODEL_DIR on gs:// in the command: what a TPU VM saves is gone with it" >&2
  return 1
}

run() {
  [ $# -gt 0 ] || fail "no command: give it after --, as in run -- python -m rec_align.train ..."
  outlives_tpu "$@" || true
  local command
  printf -v command ' %q' "$@"
  on all "bash rec_align/launch/worker.sh start$command"
  dry || echo "Ctrl-C leaves it running: follow shows it again, stop ends it" >&2
  follow
}

follow() { # ends with the command's exit code on worker 0
  local status dropped
  while true; do
    dropped=
    on 0 "bash rec_align/launch/worker.sh follow" || dropped=yes
    status="$(on 0 "bash rec_align/launch/worker.sh status")" || status=unknown
    if dry; then return; fi
    case "$status" in
      [0-9]*) [ "$dropped" ] || return "$status" ;; # else the end of the log was not seen
      none) fail "no command runs on $TPU_NAME, nor has ended there" ;;
    esac
    case "$(condition)" in lost | failed | absent) fail "$TPU_NAME is gone" ;; esac
    sleep "$poll"
  done
}

stop() { on all "bash rec_align/launch/worker.sh stop"; }

again() { bash "$script" "$@"; } # a verb in a process of its own, with the options in TPU_*

stays_ready() {
  local now end=$((SECONDS + patience))
  while [ "$SECONDS" -lt "$end" ]; do
    now="$(condition)" || now=ready # gcloud cannot tell: ask again
    [ "$now" = ready ] || return
    sleep "$poll"
  done
}

resume() {
  outlives_tpu "$@" || exit
  local code
  while true; do
    again create
    code=0
    { again install && again run -- "$@"; } || code=$?
    [ "$code" != 0 ] || break
    if stays_ready; then return "$code"; fi
    echo "$TPU_NAME is lost: asking for it anew" >&2
  done
  if dry; then
    echo "# where it was pre-empted, before all this:"
    delete
  fi
}

fetch() {
  local from="${1:-}" into="${2:-runs}"
  case "$from" in
    "") fail "no MODEL_DIR: fetch gs://bucket/run, or runs/name as it is on worker 0" ;;
    gs://*)
      into="$into/$(basename "$from")"
      act mkdir -p "$into"
      act gcloud storage rsync --recursive --exclude='^checkpoints/' "$from" "$into"
      ;;
    *)
      need NAME "name of the TPU"
      act mkdir -p "$into"
      tpus tpu-vm scp --recurse --worker=0 "$TPU_NAME:rec_align/$from" "$into"
      ;;
  esac
}

delete() { tpus queued-resources delete "$TPU_NAME" --force --quiet; }

words=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  case "$1" in
    --spot) export TPU_SPOT=1 ;;
    --dry-run) export TPU_DRY_RUN=1 ;;
    --name=* | --zone=* | --type=* | --project=* | --runtime=*)
      option="$(tr '[:lower:]' '[:upper:]' <<<"${1%%=*}")"
      export "TPU_${option#--}=${1#*=}"
      ;;
    --*) fail "unknown option $1; options are --NAME=VALUE, and a command follows after --" ;;
    *) words+=("$1") ;;
  esac
  shift
done
[ "${1:-}" != -- ] || shift
verb="${words[0]:-}"
case "$verb" in
  create | install | run | resume | follow | stop | delete) need NAME "name of the TPU" ;;
  fetch) ;;
  *) fail "verbs are create, install, run, resume, follow, stop, fetch and delete, not '$verb'" ;;
esac
dry || command -v gcloud >/dev/null || fail "gcloud is not there: install the Google Cloud CLI"
"$verb" ${words[@]+"${words[@]:1}"} "$@"
