#!/usr/bin/env bash
# From a folder of music to new music, in one go:
#
#   shell/music.sh [FOLDER] [OUT.mp3]
#
# Without a folder, or with "", it first renders a small one of public-domain tunes. OUT.mp3 is musigan-work/out.mp3
# if not given. Run it again, and what is finished is not done again. It listens to these, if set before it:
#
#   MINUTES  how long training should take, about (5)
#   EPOCHS   passes over the music instead, however long they take
#   SEED     another number, another piece (1)
#   WORK     the folder for everything in between (musigan-work in the current folder)
#   PYTHON   the Python to make the environment with (the first on PATH that is 3.11 or newer)
set -euo pipefail
# shellcheck source=_environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

case ${1:-} in
-h | --help)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
    exit
    ;;
-*)
    say "music.sh: no option $1; --help says what there is"
    exit 2
    ;;
esac
# shellcheck source=../tools/music.sh
. "$CHECKOUT/tools/music.sh"
