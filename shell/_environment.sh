# shellcheck shell=bash
# Sourced by the scripts beside it: finds a Python, makes .venv in the checkout once, and puts its tools first on PATH.
#
#   PYTHON        the Python to make it with, when the first suitable one on PATH is not the one you want
#   MUSIGAN_VENV  where the environment goes, when .venv in the checkout is not the place

CHECKOUT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV=${MUSIGAN_VENV:-$CHECKOUT/.venv}

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "${0##*/}: $*"
    exit 1
}

# What a Python is good for: "ok", or why not. Nothing at all when it does not run.
python_state() {
    "$1" - 2>/dev/null <<'PY'
import sys
version = ".".join(map(str, sys.version_info[:3]))
if sys.version_info < (3, 11):
    print("is Python " + version + ", too old")
else:
    try:
        import ensurepip, venv
        print("ok")
    except ImportError:
        print("is Python " + version + " without its venv module (on Debian and Ubuntu: the package python3-venv)")
PY
}

# Print the first Python that will do, or explain what was found instead.
find_python() {
    local candidate state found=""
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3 python3.13 python3.12 python3.11 python
    fi
    for candidate; do
        state=$(python_state "$candidate") || state=""
        if [ "$state" = ok ]; then
            command -v "$candidate"
            return
        fi
        [ -z "$state" ] || found="$found; $candidate $state"
    done
    found=${found#; }
    fail "needs Python 3.11 or newer with venv; found: ${found:-none}. Install one, or name it: PYTHON=/path/to/python3"
}

# What an environment is made from: when this changes it is made again.
fingerprint() {
    cat "$CHECKOUT/pyproject.toml" "$CHECKOUT/setup.py" "$CHECKOUT/constraints.txt" | cksum
    printf '%s\n' "$CHECKOUT"
}

# up_to_date [EXTRA]: whether the environment runs and has been made from what is here now.
up_to_date() {
    local stamp
    "$VENV/bin/python" -c "" 2>/dev/null || return 1
    # Any extra brings the package itself along.
    for stamp in "$VENV/made-from-${1:-}"*; do
        [ "$(cat "$stamp" 2>/dev/null)" != "$(fingerprint)" ] || return 0
    done
    return 1
}

# make_environment [EXTRA]: the environment with the package and one of its extras, re-used while nothing changed.
make_environment() {
    local extra=${1:-} python
    unset PYTHONHOME PYTHONPATH
    export PATH="$VENV/bin:$PATH"
    ! up_to_date "$extra" || return 0
    if ! "$VENV/bin/python" -c "" 2>/dev/null; then
        python=$(find_python)
        say "making the environment $VENV with $python"
        make_venv "$python"
    fi
    say "installing into $VENV (once; it takes minutes the first time, most of them for torch)"
    install_package "$extra" || fail "the installation did not finish; the lines above say why. Run this again to go on"
    fingerprint >"$VENV/made-from-$extra"
}

make_venv() {
    # A broken or half-made environment is emptied first; anything else there is somebody's.
    if [ -e "$VENV" ] && [ ! -e "$VENV/pyvenv.cfg" ]; then
        rmdir "$VENV" 2>/dev/null || fail "$VENV is there and is no environment: remove it, or set MUSIGAN_VENV to another place"
    fi
    "$1" -m venv --clear "$VENV" || fail "could not make $VENV with $1"
}

install_package() {
    local quiet=-q
    [ ! -t 2 ] || quiet=""
    # shellcheck disable=SC2086 # an empty $quiet is no argument
    (cd "$CHECKOUT" && "$VENV/bin/python" -m pip install $quiet --disable-pip-version-check \
        -c constraints.txt -e ".${1:+[$1]}" >&2)
}
