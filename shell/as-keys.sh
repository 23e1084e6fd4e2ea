#!/usr/bin/env bash
# How a song sounds once only its piano keys are left, which is all that a model hears of it:
#
#   shell/as-keys.sh SONG [OUT.mp3] [OPTION...]     options go to keys-to-mp3, such as --timbre
set -euo pipefail
# shellcheck source=_environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

song=${1:-}
[ -e "$song" ] || fail "name a song: shell/as-keys.sh SONG [OUT.mp3]"
out=${2:-as-keys.mp3}
shift $(($# < 2 ? $# : 2))

make_environment
mp3-to-npy "$song" | npy-to-keys | keys-to-mp3 "$out" "$@"
