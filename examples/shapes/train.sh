#!/bin/sh
# The script of `make demo-checkpoint`: draws the data, trains in two lessons, saves in half precision, and measures.
# An interrupted run continues where it stopped.
#   BIN      the environment's programs     (.venv/bin)
#   BUILD    where data and runs go         (build/shapes)
set -eu
cd "$(dirname "$0")/../.."
BIN=${BIN:-.venv/bin}
BUILD=${BUILD:-build/shapes}

[ -e "$BUILD/held-out.parquet" ] || "$BIN/python" examples/shapes/generate.py "$BUILD"

# Without worker processes, as the two cores have enough to do: a worker would make the threads of a step wait for each
# other.
lesson() { # name, data, model, passes over the data
    "$BIN/clip-zoo" train --data "$BUILD/$2.parquet" --model "$3" --checkpoint-dir "$BUILD/$1" --epochs "$4" \
        --batch-size 128 --lr 7e-4 --weight-decay 0.1 --crop none --workers 0 --save-every 500 --seed 0 --resume
}
last() { # of a lesson, the checkpoint
    ls -d "$BUILD/$1"/step-* | tail -n 1
}

# Large shapes on plain backgrounds come first. From all kinds of images at once, a model this small learns backgrounds,
# places and colours within a hundred steps, but shapes only after thousands.
lesson lesson-1 simple "$BUILD/model/config.json" 14
lesson lesson-2 full "$(last lesson-1)" 10

"$BIN/clip-zoo" convert "$(last lesson-2)" examples/shapes/checkpoint --to safetensors --dtype float16 --overwrite
"$BIN/python" examples/shapes/card.py "$BUILD" examples/shapes/checkpoint
