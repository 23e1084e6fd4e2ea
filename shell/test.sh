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
MYPYPATH=$VENV/types check mypy -p musigan -p musigan_tools
# One thread in each worker: the workers fill the cores.
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} check pytest -n auto "$@"

[ -z "$failed" ] || fail "failed:$failed"
