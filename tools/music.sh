# shellcheck shell=bash
# From a folder of music to new music: what `musigan music` runs, and shell/music.sh in an environment that it makes.
# Its arguments are FOLDER and OUT.mp3, both may be missing or ""; MINUTES, EPOCHS, SEED and WORK are heard.
set -euo pipefail

STOPPED=143 # a tool's exit code on SIGTERM

if [ -z "${CHECKOUT:-}" ]; then # without shell/_environment.sh the tools are there already
    again="musigan music"
    say() { printf '%s\n' "$*" >&2; }
    fail() {
        say "musigan music: $*"
        exit 1
    }
    make_environment() { :; }
else
    again=$(printf %q "$0")
fi

given=${1:-}
music=$given
work=${WORK:-musigan-work}
out=${2:-}
out=${out:-$work/out.mp3}
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

# trained: how many epochs the checkpoint's run has done; its folder has a line for each.
trained() { cat "$work/ckpt.run/metrics.jsonl" 2>/dev/null | wc -l | tr -d ' '; }

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
    [ "$code" -ne 0 ] || record finished yes
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

is_ours=no
if is training "$state" && [ -e "$work/ckpt.pt" ]; then
    is_ours=yes
fi
options=""
if [ "$is_ours" = yes ] && ! is finished yes; then
    options="--resume"
    # It may have been told of more epochs since.
    [ "$(recall planned)" -ge "${EPOCHS:-0}" ] || options="--resume --epochs"
elif [ "$is_ours" = yes ] && [ -n "${EPOCHS:-}" ]; then
    [ "$(trained)" -ge "$EPOCHS" ] || options="--resume --epochs"
elif [ "$is_ours" = no ] || { [ -n "${MINUTES:-}" ] && [ "$(recall minutes)" -lt "$minutes" ]; }; then
    options="anew"
fi

interrupt="Ctrl-C saves and stops, and the next run goes on"
[ -z "${EPOCHS:-}" ] || record planned "$EPOCHS"
case $options in
"") say "3. training: $work/ckpt.pt has its $(trained) epochs already" ;;
--resume*)
    say "3. training: $work/ckpt.pt goes on after $(trained) epochs; $interrupt"
    record finished no
    set -- --resume "$work/ckpt.pt"
    [ "$options" = --resume ] || set -- "$@" --epochs "$EPOCHS"
    train "$@"
    ;;
anew)
    if [ -n "${EPOCHS:-}" ]; then
        say "3. training: $EPOCHS epochs, into $work/ckpt.pt; $interrupt"
        record minutes 0
        set -- --epochs "$EPOCHS"
    else
        say "3. training: about $minutes minutes, into $work/ckpt.pt; $interrupt"
        record minutes "$minutes"
        record planned 0
        set -- --minutes "$minutes"
    fi
    # What was learned before is kept, though no further than the next time.
    [ ! -e "$work/ckpt.pt" ] || mv -f "$work/ckpt.pt" "$work/ckpt-before.pt"
    record training "$state"
    record finished no
    train "$@"
    ;;
esac

say "4. new music into $out"
printf '%s\n' "$out" >>"$work/.written"
sample "$work/ckpt.pt" --seed "$seed" | keys-to-mp3 "$out" --force

cat >&2 <<END

Wrote $out. What next:
${VENV:+  . $(printf %q "$VENV/bin/activate")    # puts the tools on your PATH
}  sample $(printf %q "$work/ckpt.pt") -n 1 --seconds 60 --seed 2 | keys-to-mp3 another.mp3
  sample $(printf %q "$work/ckpt.pt") --best 2 --of 40 | keys-to-mp3 best.mp3 --timbre harmonic
  MINUTES=60 $again${given:+ $(printf %q "$given")}    # longer training makes better music
  $again ~/Music mine.mp3    # your own songs: dozens at least, hundreds are better
Pictures and sounds of how training went: $work/ckpt.run
END
