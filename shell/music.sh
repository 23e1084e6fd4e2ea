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

ROLLS_PER_SECOND=30 # what a laptop trains at, or better: chunks of 10 s, over all stages
STOPPED=143         # a tool's exit code on SIGTERM

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
music=${1:-}
work=${WORK:-musigan-work}
out=${2:-$work/out.mp3}
minutes=${MINUTES:-5}
seed=${SEED:-1}

for number in "$minutes" "$seed" "${EPOCHS:-1}"; do
    case $number in
    '' | *[!0-9]*) fail "MINUTES, EPOCHS and SEED are whole numbers, not '$number'" ;;
    esac
done
if [ -n "$music" ] && [ ! -e "$music" ]; then
    fail "there is no $music: name a folder of music, or none for the tunes that come along"
fi
# An MP3 that this script did not write may be someone's song: the two arguments are easily swapped.
if [ -e "$out" ] && ! grep -qxF "$out" "$work/.written" 2>/dev/null; then
    fail "$out exists, and this script did not write it: choose another name"
fi

# whole TOOL...: a tool that exits with 3 has skipped some inputs and said so; its output is whole.
whole() {
    local code=0
    "$@" || code=$?
    [ "$code" -eq 3 ] || return "$code"
}

# What is done, as hidden files in the folder of work.
record() { printf '%s\n' "$2" >"$work/.$1"; }
recall() { cat "$work/.$1" 2>/dev/null || echo 0; }
is() { [ "$(recall "$1")" = "$2" ]; }

# Names, sizes and times of all the music: changes when any of it does.
listing() { find -L "$1" -type f -exec ls -lnL {} + | LC_ALL=C sort | cksum; }

# pairs: how many pairs of chunks the music has.
pairs() { musigan check "$work/keys.zarr" 2>/dev/null | sed -n 's/.* with \([0-9][0-9]*\) pairs.*/\1/p'; }

# epochs: how many passes over the music fit into the minutes.
epochs() {
    local pairs passes
    pairs=$(pairs)
    passes=$((minutes * 60 * ROLLS_PER_SECOND / (2 * ${pairs:-500})))
    echo $((passes < 4 ? 4 : passes > 1000 ? 1000 : passes))
}

# train OPTION...: on a machine so slow that it takes twice its time, it is told to save and stop.
train() {
    local code=0 guard pid_file="$work/.pid" limit=$((SECONDS + 120 * minutes))
    rm -f "$pid_file"
    (
        [ -z "${EPOCHS:-}" ] || exit 0
        while sleep 2; do
            if [ "$SECONDS" -ge "$limit" ]; then
                kill -TERM "$(cat "$pid_file")"
                exit
            fi
        done
    ) >/dev/null 2>&1 </dev/null &
    guard=$!
    # shellcheck disable=SC2016 # sh expands these: it notes its process number and becomes the trainer
    sh -c 'echo $$ >"$0" && exec "$@"' "$pid_file" train-gan "$work/keys.zarr" -o "$work/ckpt.pt" "$@" || code=$?
    kill "$guard" 2>/dev/null || true
    if [ "$code" -eq "$STOPPED" ] && [ -e "$work/ckpt.pt" ]; then
        say "this machine is slower than most: training was stopped after $((2 * minutes)) minutes; MINUTES=30 gives it more"
        code=0
    fi
    return "$code"
}

make_environment
mkdir -p "$work"

if [ -z "$music" ]; then
    say "1. music: public-domain tunes, rendered from notes, in $work/demo-music"
    music=$work/demo-music
    musigan demo-music "$music"
else
    say "1. music: $music"
fi
state=$(listing "$music")

if is keys "$state" && [ -e "$work/keys.zarr" ]; then
    say "2. keys: $work/keys.zarr is there already"
else
    say "2. keys: which piano keys sound when, into $work/keys.zarr"
    whole mp3-to-npy "$music" | whole pair-chunks | whole npy-to-keys -o "$work/keys.zarr" --force
    record keys "$state"
fi

wanted=${EPOCHS:-$(epochs)}
planned=0
trained=0
if is training "$state" && [ -e "$work/ckpt.pt" ]; then
    planned=$(recall planned)
    trained=$(recall trained)
fi
if [ "$trained" -ge "$wanted" ]; then
    say "3. training: $work/ckpt.pt has its $trained epochs already"
else
    duration="$wanted epochs"
    [ -n "${EPOCHS:-}" ] || duration="about $minutes minutes, $duration"
    say "3. training: $duration, into $work/ckpt.pt; Ctrl-C saves and stops, and the next run goes on"
    if [ "$planned" -eq 0 ]; then
        # What was learned from other music is kept, though no further than the next time.
        [ ! -e "$work/ckpt.pt" ] || mv -f "$work/ckpt.pt" "$work/ckpt-before.pt"
        record training "$state"
        record trained 0
        record planned "$wanted"
        train --epochs "$wanted"
    elif [ "$planned" -lt "$wanted" ]; then
        record planned "$wanted"
        train --resume "$work/ckpt.pt" --epochs "$wanted"
    else
        train --resume "$work/ckpt.pt"
    fi
    record trained "$wanted"
fi

say "4. new music into $out"
printf '%s\n' "$out" >>"$work/.written"
sample "$work/ckpt.pt" --seed "$seed" | keys-to-mp3 "$out" --force

cat >&2 <<END

Wrote $out. What next:
  . $(printf %q "$VENV/bin/activate")    # puts the tools on your PATH
  sample $(printf %q "$work/ckpt.pt") -n 1 --seconds 60 --seed 2 | keys-to-mp3 another.mp3
  sample $(printf %q "$work/ckpt.pt") --best 2 --of 40 | keys-to-mp3 best.mp3 --timbre harmonic
  MINUTES=60 $(printf %q "$0")${1:+ $(printf %q "$1")}    # longer training makes better music
  $(printf %q "$0") ~/Music mine.mp3    # your own songs: dozens at least, hundreds are better
Pictures and sounds of how training went: $work/ckpt.run
END
