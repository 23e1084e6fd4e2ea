#!/usr/bin/env bash
# Makes the environment if need be, then lints, checks types and runs the tests. Arguments go to pytest:
#
#   shell/test.sh -k tunes
#   shell/test.sh --cov     how much of the code the tests run, too; by half slower
set -euo pipefail
# shellcheck source=_environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

make_environment test,ffmpeg
cd "$CHECKOUT"

# Type checkers do not see through an editable install that renames a folder: show them musigan_tools by a link.
mkdir -p "$VENV/types"
ln -sfn "$CHECKOUT/tools" "$VENV/types/musigan_tools"

failed=""
check() {
    say "== $*"
    "$@" || failed="$failed $1"
}

check ruff check .
check ruff format --check .
# mypy works beside the tests; what it says comes behind what they say.
types_said=$(mktemp)
MYPYPATH=$VENV/types mypy -p musigan -p musigan_tools >"$types_said" 2>&1 &
types_pid=$!
trap 'kill "$types_pid" 2>/dev/null || :; rm -f "$types_said"' EXIT
types() {
    local code=0
    wait "$types_pid" || code=$?
    cat "$types_said"
    return "$code"
}

# One thread in each worker: the workers fill the cores. A worker takes a stretch of tests, which share what they set up.
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} check pytest -n auto --dist worksteal "$@"
check types

[ -z "$failed" ] || fail "failed:$failed"
