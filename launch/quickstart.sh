#!/usr/bin/env bash
# From nothing to scored recommendations on real data: sets up, builds ML-100K, trains the aligned
# mixture, scores it beside the baselines, and shows five users' recommendations.
#
#   bash launch/quickstart.sh             at most ten minutes on two cores, downloads excluded
#   STEPS=20 bash launch/quickstart.sh    the same way with next to no training
#
# A second run finds everything done and shows the results at once. ML100K=FILE reads the wheel of
# recbole==1.2.1 or the public ml-100k.zip instead of downloading.
source "$(dirname "$0")/setup.sh"
setup ""
STEPS="${STEPS:-2000}"
RUN="${RUN:-runs/quickstart_$STEPS}"
export TFDS_DATA_DIR="${TFDS_DATA_DIR:-$PWD/runs/data}"
python=.venv/bin/python
model=(--gin_file=gin/models/tiny.gin)
model_dir=(--gin.MODEL_DIR="'$RUN'")

$python -m rec_align.cli data build ml_100k ${ML100K:+--source "$ML100K"}
$python -m rec_align.train "${model[@]}" --gin_file=gin/runs/train.gin "${model_dir[@]}" \
  --gin.MIXTURE_OR_TASK_NAME="'ml_100k_aligned'" --gin.TRAIN_STEPS="$STEPS"
$python -m rec_align.infer "${model[@]}" --gin_file=gin/runs/infer.gin "${model_dir[@]}" \
  --gin.MIXTURE_OR_TASK_NAME="'ml_100k_retrieval'" --gin.infer.show_users=5
$python -m rec_align.eval "${model[@]}" --gin_file=gin/runs/eval.gin "${model_dir[@]}" \
  --gin.MIXTURE_OR_TASK_NAME="'ml_100k_recommendation'"
cat <<EOF
checkpoints:     $RUN/checkpoints
metrics:         $RUN/eval_test/metrics.json
predictions:     $RUN/eval_test/predictions_retrieval.jsonl
recommendations: $RUN/recommendations_test.jsonl

next: see what the model was trained on
  TFDS_DATA_DIR=$TFDS_DATA_DIR .venv/bin/rec-align show ml_100k_aligned
EOF
