#!/usr/bin/env bash
# A large collection into one store of keys, on a cluster that Slurm runs: a task for each shard, then all together.
#
#   shell/slurm.sh FOLDER OUT.zarr [SHARDS [SBATCH_OPTION...]]
#
# FOLDER and OUT.zarr are on a disk that all machines share. SHARDS is 16 if not given; options for sbatch follow, such
# as --partition or --time. The shards' stores are in OUT.zarr.shards until you remove them: run it again after a
# failure, and those that are there are not made again. Machines without Slurm do one shard at a time by
#
#   shell/slurm.sh --shard K/N FOLDER OUT.zarr
#
# or, with GNU parallel over the machines of a list, all of them:
#
#   seq 16 | parallel --sshloginfile machines shell/slurm.sh --shard {}/16 ~/Music keys.zarr
#   musigan merge keys.zarr.shards/*.zarr.zip -o keys.zarr
set -euo pipefail
# shellcheck source=_environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

# whole TOOL...: a tool that exits with 3 has skipped some inputs and said so; its output is whole.
whole() {
    local code=0
    "$@" || code=$?
    [ "$code" -eq 3 ] || return "$code"
}

# one_shard K/N FOLDER OUT: what one task does.
one_shard() {
    local store
    store=$3.shards/$(printf %06d "${1%/*}").zarr.zip
    if [ -e "$store" ]; then
        say "$store is there already"
        return
    fi
    whole mp3-to-npy "$2" --shard "$1" -j "${SLURM_CPUS_PER_TASK:-0}" | whole pair-chunks |
        whole npy-to-keys -j "${SLURM_CPUS_PER_TASK:-0}" -o "$store"
}

case ${1:-} in
-h | --help)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
    exit
    ;;
--shard)
    [ $# -eq 4 ] || fail "--shard K/N FOLDER OUT.zarr; --help says more"
    make_environment
    mkdir -p "$4.shards"
    one_shard "$2" "$3" "$4"
    exit
    ;;
esac
[ $# -ge 2 ] || fail "name a folder of music and a store: shell/slurm.sh FOLDER OUT.zarr [SHARDS]"
folder=$1
out=$2
shards=${3:-16}
shift $(($# < 3 ? $# : 3))
[ -e "$folder" ] || fail "there is no $folder"
[ ! -e "$out" ] || fail "$out exists: choose another name"
case $shards in
'' | *[!0-9]*) fail "SHARDS is a whole number, not '$shards'" ;;
esac
command -v sbatch >/dev/null || fail "there is no sbatch here; --help says how to do without Slurm"

make_environment
mkdir -p "$out.shards"
# Slurm runs a copy of a script: the tasks call this one by its own name.
task=$(printf '%q --shard "$SLURM_ARRAY_TASK_ID"/%d %q %q' "$CHECKOUT/shell/slurm.sh" "$shards" "$folder" "$out")
array=$(sbatch --parsable --job-name musigan-keys --array "1-$shards" "$@" --wrap "$task")
merge=$(printf 'musigan merge %q/*.zarr.zip -o %q' "$out.shards" "$out")
sbatch --job-name musigan-merge --dependency "afterok:${array%%;*}" "$@" --wrap "$merge"
