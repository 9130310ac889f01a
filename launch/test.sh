#!/usr/bin/env bash
# Sets up and passes the tests: bash launch/test.sh [PYTEST ARGUMENTS]
source "$(dirname "$0")/setup.sh"
setup "[test]"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/python -m pytest "$@"
