# Makes .venv with rec_align in it, once; sourced by the other scripts. Needs Python 3.11 or newer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

setup() { # setup EXTRAS, for instance setup "[test]"
  local stamp
  stamp=".venv/ready$1-$(cat setup.py pyproject.toml | cksum | cut -d' ' -f1)"
  if [ ! -e "$stamp" ]; then
    echo "setting up .venv (once)"
    [ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
    .venv/bin/python -m uv pip install --quiet --python .venv/bin/python --editable ".$1"
    touch "$stamp"
  fi
  # Where this is set, as in many containers, each process compiles TensorFlow's modules anew: 10 s.
  unset PYTHONDONTWRITEBYTECODE
  export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
}
