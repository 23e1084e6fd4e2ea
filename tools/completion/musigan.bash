# bash completion of musigan's commands, written from their --help: python -m musigan_tools._reference
_musigan() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[0]##*/} options="" words=""
    COMPREPLY=()
    if [ "$command" = musigan ]; then
        if [ "$COMP_CWORD" -eq 1 ]; then
            COMPREPLY=($(compgen -W "try continue music mp3-to-npy pair-chunks npy-to-keys prepare keys-to-mp3 midi-to-keys keys-to-midi pretrain train-gan sample transfer evaluate plot-keys report export check merge split filter head cat doctor models completion demo-music --help --version" -- "$current"))
            return
        fi
        command=${COMP_WORDS[1]}
    fi
    case "$command $previous" in
    "mp3-to-npy --channels") words="stereo mono keep" ;;
    "mp3-to-npy --dtype") words="float16 int16" ;;
    "prepare --channels") words="stereo mono" ;;
    "prepare --beats") words="find none" ;;
    "filter --split") words="train validation " ;;
    esac
    case $command in
    try) options="--style --tempo --seconds --seed --force -q --quiet -v --verbose --version -h --help" ;;
    continue) options="-o --output -n --count --seconds --new-only --midi --from --checkpoint --style --tempo --seed --device --force -q --quiet -v --verbose --version -h --help" ;;
    music) options="--minutes --epochs --seed --work -q --quiet -v --verbose --version -h --help" ;;
    mp3-to-npy) options="-o --output --sample-rate --start --seconds --all --min-seconds --channels --dtype --shard -j --jobs --strict --force -q --quiet -v --verbose --version -h --help" ;;
    pair-chunks) options="-o --output --chunk-seconds --overlap --validation --ends --shuffle --seed --strict --force -q --quiet -v --verbose --version -h --help" ;;
    npy-to-keys) options="-o --output --band --keys --frame-seconds --threshold --chunk-seconds --beats --drums --no-drums --compress --no-compress --device -j --jobs --strict --force -q --quiet -v --verbose --version -h --help" ;;
    prepare) options="-o --output --scheduler --workers --sample-rate --start --seconds --all --min-seconds --channels --chunk-seconds --overlap --validation --band --keys --frame-seconds --beats --drums --no-drums --device --strict -q --quiet -v --verbose --version -h --help" ;;
    keys-to-mp3) options="--timbre --soundfont --program --room --lufs --gain --fade --crossfade --bitrate --title --split --sample-rate -j --jobs --force -q --quiet -v --verbose --version -h --help" ;;
    midi-to-keys) options="-o --output --tracks --merge --keys --frame-seconds --chunk-seconds --overlap --unpaired --validation --ends --genre --compress --no-compress --strict --force -q --quiet -v --verbose --version -h --help" ;;
    keys-to-midi) options="--tempo --quantise --min-seconds --keep-ghosts --split --force -q --quiet -v --verbose --version -h --help" ;;
    pretrain) options="-o --output --epochs --minutes --batch-size --accumulate --critic-epochs --seed --device --preset --model --config --set --resume --init --keep-last --sample-every --log --steps-limit --print-config --force -q --quiet -v --verbose --version -h --help" ;;
    train-gan) options="-o --output --epochs --minutes --batch-size --accumulate --pretrain-epochs --critic-epochs --seed --device --preset --model --config --set --resume --start --init --keep-last --sample-every --evaluate-every --log --steps-limit --print-config --force -q --quiet -v --verbose --version -h --help" ;;
    sample) options="-o --output -n --count --seconds --seed --best --of --temperature --morph --prime --prime-from --style --tempo --keep --with --device --force -q --quiet -v --verbose --version -h --help" ;;
    transfer) options="-o --output --to --judge --device --strict --force -q --quiet -v --verbose --version -h --help" ;;
    evaluate) options="-n --count --pieces --long --seed --json --csv --baselines --no-baselines --network --splits --bootstraps --device -j --jobs -q --quiet -v --verbose --version -h --help" ;;
    plot-keys) options="-o --output -n --count --items --diff --start --seconds --all --columns --channel --track --scale --beats --format --dpi --strict --force -q --quiet -v --verbose --version -h --help" ;;
    report) options="-o --output --keys -n --count --of --rounds --seconds --seed --device -j --jobs --force -q --quiet -v --verbose --version -h --help" ;;
    export) options="--half --card --force -q --quiet -v --verbose --version -h --help" ;;
    check) options="--json -q --quiet -v --verbose --version -h --help" ;;
    merge) options="-o --output --compress --no-compress --strict --force -q --quiet -v --verbose --version -h --help" ;;
    split) options="-o --output --by --shares --strict --force -q --quiet -v --verbose --version -h --help" ;;
    filter) options="-o --output --genre --artist --title --min-seconds --max-seconds --has-beats --no-beats --split --where --invert --strict --force -q --quiet -v --verbose --version -h --help" ;;
    head) options="-o --output -n --count --strict --force -q --quiet -v --verbose --version -h --help" ;;
    cat) options="-o --output --compress --no-compress --strict --force -q --quiet -v --verbose --version -h --help" ;;
    doctor) options="--json -q --quiet -v --verbose --version -h --help" ;;
    models) options="--json -q --quiet -v --verbose --version -h --help" ;;
    completion) options="-q --quiet -v --verbose --version -h --help" ;;
    demo-music) options="--tune --format --list -j --jobs --force -q --quiet -v --verbose --version -h --help" ;;
    esac
    if [ -n "$words" ]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    elif [ "${current#-}" != "$current" ]; then
        COMPREPLY=($(compgen -W "$options" -- "$current"))
    fi
}
complete -o bashdefault -o default -F _musigan musigan mp3-to-npy pair-chunks npy-to-keys keys-to-mp3 midi-to-keys keys-to-midi pretrain train-gan sample transfer evaluate plot-keys report
