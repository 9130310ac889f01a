#!/usr/bin/env bash
# Trains on the GPUs of a Slurm cluster; saves before the time limit, queues again and goes on.
#
#   bash -c 'source launch/setup.sh && setup "[gpu]"'     once, on a disk that all nodes see
#   sbatch launch/slurm.sh --gin_file=gin/models/xl.gin --gin_file=gin/runs/finetune.gin \
#     --gin.MIXTURE_OR_TASK_NAME="'my_shop_aligned'" --gin.MODEL_DIR="'/shared/runs/xl'" ...
#   sbatch --nodes=4 --gpus-per-node=4 --ntasks-per-node=4 launch/slurm.sh ...     other sizes
#   bash launch/slurm.sh --dry-run ...                    prints what the job would run
#
# One task a GPU: jax.distributed gives task i of a node its GPU i, and no other.
#SBATCH --job-name=rec_align
#SBATCH --nodes=2
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=rec_align-%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}" # Slurm runs a copy of this file from a place of its own

fail() {
  echo "slurm.sh: $*" >&2
  exit 1
}

dry=
if [ "${1:-}" = --dry-run ]; then dry=1 && shift; fi
train=(srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-8}"
  .venv/bin/python -m rec_align.train --multihost "$@")
if [ -n "$dry" ]; then
  printf '%q ' "${train[@]}"
  printf '\n# and where a signal stopped it (exit code 130):\nscontrol requeue JOB_ID\n'
  exit
fi

[ -n "${SLURM_JOB_ID:-}" ] || fail "not in a Slurm job: sbatch launch/slurm.sh ..."
[ -x .venv/bin/python ] ||
  fail "no .venv in $PWD: submit from the checkout, set up as the top of this file says"
tasks="${SLURM_NTASKS_PER_NODE:-1}" gpus="${SLURM_GPUS_ON_NODE:-0}"
[ "$tasks" = "$gpus" ] ||
  fail "$tasks tasks and $gpus GPUs a node: give --ntasks-per-node and --gpus-per-node the same"

code=0
"${train[@]}" || code=$?
if [ "$code" = 130 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
