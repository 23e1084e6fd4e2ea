#!/usr/bin/env bash
# Makes the base weights anew from a folder of MIDI files that may be learned from (musigan/checkpoints/base/CARD.md):
#
#   shell/base.sh FOLDER [OUT.safetensors]
#
# OUT.safetensors is base-work/base.safetensors if not given; musigan/checkpoints/base/base.safetensors is what the
# package carries. Run it again, and what is finished is not done again; a training that was stopped is gone on with. It
# listens to these, if set before it:
#
#   FONTS    sound fonts that play the music, beside musigan itself; they need pyfluidsynth in the environment
#   TUNES    how many of musigan's own tunes are played, too (all)
#   EPOCHS   passes over the music (250, about 15 hours of a core for 540 pieces)
#   DEVICE   cuda, cpu, ... (the best that there is)
#   OPTIONS  more for train-gan when it begins, such as "--batch-size 16"
#   CARD     the model card that goes into the file (musigan/checkpoints/base/CARD.md)
#   JOBS     pieces played at once (2)
#   WORK     the folder for everything in between (base-work in the current folder)
#   PYTHON   the Python to make the environment with (the first on PATH that is 3.11 or newer)
set -euo pipefail
# shellcheck source=_environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

case ${1:---help} in
-h | --help)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
    exit
    ;;
esac
folder=$1
[ -d "$folder" ] || fail "there is no folder $folder: name one of MIDI files"
work=${WORK:-base-work}
out=${2:-$work/base.safetensors}
card=${CARD:-$CHECKOUT/musigan/checkpoints/base/CARD.md}
[ -e "$card" ] || fail "there is no card $card"

make_environment
mkdir -p "$work"

if [ -e "$work/keys.zarr.zip" ]; then
    say "1. music: $work/keys.zarr.zip is there already"
else
    say "1. music: pieces of $folder, played and analysed, into $work/keys.zarr.zip"
    # shellcheck disable=SC2086 # fonts are several
    python "$CHECKOUT/benchmarks/base_music.py" "$folder" "$work/keys.zarr.zip" --jobs "${JOBS:-2}" \
        ${TUNES:+--tunes "$TUNES"} ${FONTS:+--fonts $FONTS}
fi

if [ -e "$work/.trained" ]; then
    say "2. training: $work/ckpt.pt is finished"
else
    say "2. training, into $work/ckpt.pt; Ctrl-C saves and stops, and the next run goes on"
    if [ -e "$work/ckpt.pt" ]; then
        train-gan "$work/keys.zarr.zip" --resume "$work/ckpt.pt" --device "${DEVICE:-auto}"
    else
        # shellcheck disable=SC2086 # options are several
        train-gan "$work/keys.zarr.zip" -o "$work/ckpt.pt" --init none --preset small --epochs "${EPOCHS:-250}" \
            --evaluate-every 0 --sample-every 0 --device "${DEVICE:-auto}" ${OPTIONS:-}
    fi
    touch "$work/.trained"
fi

say "3. the file, into $out"
python "$CHECKOUT/benchmarks/base_weights.py" "$work/ckpt.pt" "$out" --card "$card"
