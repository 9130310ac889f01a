#!/usr/bin/env bash
# Sets up and passes the tests: bash launch/test.sh [PYTEST ARGUMENTS]
source "$(dirname "$0")/setup.sh"
setup "[test]"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
# Two files at a time: more would need more than 2 GiB each, and what a file shares is made once.
.venv/bin/python -m pytest -n 2 --dist loadfile "$@"
