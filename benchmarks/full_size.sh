#!/usr/bin/env bash
# All three stages at the paper's size, both directions, from general text to a report: for a machine with a GPU.
#
#   bash benchmarks/full_size.sh prepare RUN GENERAL DATA_SET [DATA_DIR]   # where spaCy is: texts become ids
#   bash benchmarks/full_size.sh train RUN [MINUTES] [FLAGS...]            # anywhere, without network; MINUTES a slice
#
# GENERAL is a table of texts in a column `text`, such as articles of Wikipedia, DATA_SET a registered one (imdb) or a
# table with labels. RUN moves to the other machine as a folder. `train` goes on where it was stopped, and exits with 3
# while something is left to do. FLAGS are those of `ulmfit reproduce`, such as --set stage1.epochs=4 or --seeds 0 1 2.
# PRESET is paper-code unless the environment names another; `tiny` shows on a CPU, in minutes, that all of it runs.
set -euo pipefail

usage() {
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

prepare() {
    local run=$1 general=$2 data_set=$3 data_dir=${4:-}
    ulmfit prepare "$general" --label none --preset "$preset" --out "$run/general"
    ulmfit prepare "$data_set" --preset "$preset" ${data_dir:+--data-dir "$data_dir"} --out "$run/texts"
    du -sh "$run/general" "$run/texts"
}

train() {
    local run=$1 minutes=${2:-100000}
    shift $(($# < 2 ? $# : 2))
    ulmfit reproduce "$run/texts" --preset "$preset" --lm "$run/general" --direction both \
        --max-minutes "$minutes" --out "$run/out" "$@"
}

preset=${PRESET:-paper-code}
(($# >= 2)) || usage
verb=$1
shift
case $verb in
prepare) (($# >= 3)) || usage && prepare "$@" ;;
train) train "$@" ;;
*) usage ;;
esac
