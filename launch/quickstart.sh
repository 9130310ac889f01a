#!/usr/bin/env bash
# From nothing to scored recommendations on real data: sets up, builds ML-100K, trains the aligned
# mixture, recommends, scores beside the baselines, and shows the result.
#
#   bash launch/quickstart.sh             at most ten minutes on two cores, downloads excluded
#   STEPS=20 bash launch/quickstart.sh    the same way with next to no training
#
# A second run finds everything done and shows the result at once; an interrupted one goes on.
# ML100K=FILE reads the wheel of recbole==1.2.1 or the public ml-100k.zip instead of downloading.
source "$(dirname "$0")/setup.sh"
setup ""
STEPS="${STEPS:-4000}"
RUN="${RUN:-runs/quickstart_$STEPS}"
export TFDS_DATA_DIR="${TFDS_DATA_DIR:-$PWD/runs/data}"
bin=.venv/bin

$bin/rec-align data build ml_100k ${ML100K:+--source "$ML100K"}
if [ ! -e "$RUN/eval_test/metrics.json" ]; then
  model=(--gin_file=gin/models/tiny.gin --gin.MODEL_DIR="'$RUN'")
  $bin/python -m rec_align.train "${model[@]}" --gin_file=gin/runs/train.gin \
    --gin.MIXTURE_OR_TASK_NAME="'ml_100k_aligned'" --gin.TRAIN_STEPS="$STEPS"
  $bin/python -m rec_align.infer "${model[@]}" --gin_file=gin/runs/infer.gin \
    --gin.MIXTURE_OR_TASK_NAME="'ml_100k_retrieval'"
  $bin/python -m rec_align.eval "${model[@]}" --gin_file=gin/runs/eval.gin \
    --gin.MIXTURE_OR_TASK_NAME="'ml_100k_recommendation'" >"$RUN/eval.log"
fi
$bin/rec-align report "$RUN"
cat <<EOF

next: see what the model was trained on
  TFDS_DATA_DIR=$TFDS_DATA_DIR $bin/rec-align show ml_100k_aligned
EOF
