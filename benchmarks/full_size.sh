#!/usr/bin/env bash
# All three stages at the paper's size, both directions, from general text to a report: for a machine with a GPU.
#
#   bash benchmarks/full_size.sh prepare RUN GENERAL DATA_SET [FLAGS...]   # where spaCy is: texts become ids
#   bash benchmarks/full_size.sh train RUN [FLAGS...]                      # anywhere, without network
#
# GENERAL is a table of texts in a column `text`, such as articles of Wikipedia, DATA_SET a registered one (imdb) or a
# table with labels; FLAGS are those of `ulmfit prepare` for it, such as --data-dir DIR or --split split. RUN moves to
# the other machine as a folder. There FLAGS are those of `ulmfit reproduce`: --max-minutes 30 trains one slice, and
# ends with 3 while something is left to do for the same command.
# PRESET is paper-code unless the environment names another; `tiny` shows on a CPU, in minutes, that all of it runs.
set -euo pipefail

usage() {
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

prepare() {
    local run=$1 general=$2 data_set=$3
    ulmfit prepare "$general" --label none --preset "$preset" --out "$run/general"
    ulmfit prepare "$data_set" --preset "$preset" --out "$run/texts" "${@:4}"
}

train() {
    local run=$1
    ulmfit reproduce "$run/texts" --preset "$preset" --lm "$run/general" --direction both --out "$run/out" "${@:2}"
}

preset=${PRESET:-paper-code}
case ${1:-} in
prepare) (($# >= 4)) || usage ;;
train) (($# >= 2)) || usage ;;
*) usage ;;
esac
"$@"
