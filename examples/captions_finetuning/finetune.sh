#!/bin/sh
# Fine-tune the demo's CLIP on captioned emoji in six ways, and in three frameworks, and measure retrieval before and
# after. What is done already is not repeated.
#   BIN      the environment's programs     (.venv/bin)
#   BUILD    where data and runs go         (build/captioned-emoji)
#   RUNS     the runs, of those below       (all)
set -eu
cd "$(dirname "$0")/../.."
BIN=${BIN:-.venv/bin}
BUILD=${BUILD:-build/captioned-emoji}
RUNS=${RUNS:-image image-crop distinct distinct-crop each each-crop curve-torch curve-tf curve-flax}
HERE=examples/captions_finetuning

[ -e "$BUILD/dataset_emoji.json" ] || "$BIN/python" "$HERE/emoji_dataset.py" "$BUILD"
tables() { # folder, options
    rows=$1; shift
    [ -e "$BUILD/$rows/test.jsonl" ] || "$BIN/python" "$HERE/rsicd.py" "$BUILD/dataset_emoji.json" "$BUILD/images" \
        "$BUILD/$rows" "$@"
}
tables image
tables distinct --distinct
tables each --each
# The demo's model has 24 positions, too few for the longer sentences.
[ -e "$BUILD/start" ] || "$BIN/python" examples/emoji/lengthen.py examples/shapes/checkpoint "$BUILD/start" --positions 40

train() { # run, rows, crop, passes over the data, framework
    [ -e "$BUILD/runs/$1/retrieval.json" ] && return
    "$BIN/clip-zoo" train --data "$BUILD/$2/train.jsonl" --model "$BUILD/start" --checkpoint-dir "$BUILD/runs/$1" \
        --epochs "$4" --batch-size 64 --lr 1e-3 --crop "$3" --workers 0 --seed 0 --backend "$5" --resume
    measure "$1" "$(ls -d "$BUILD/runs/$1"/step-* | tail -n 1)"
}
measure() { # run, model
    mkdir -p "$BUILD/runs/$1"
    "$BIN/clip-zoo" evaluate retrieval --data "$BUILD/image/test.jsonl" --model "$2" --workers 0 --json \
        > "$BUILD/runs/$1/retrieval.part"
    mv "$BUILD/runs/$1/retrieval.part" "$BUILD/runs/$1/retrieval.json"
}

[ -e "$BUILD/runs/before/retrieval.json" ] || measure before "$BUILD/start"
for run in $RUNS; do
    case $run in # an image has five sentences, so five passes over images take as many steps as one over sentences
        image) train image image none 5 torch ;;
        image-crop) train image-crop image resized 5 torch ;;
        distinct) train distinct distinct none 5 torch ;;
        distinct-crop) train distinct-crop distinct resized 5 torch ;;
        each) train each each none 1 torch ;;
        each-crop) train each-crop each resized 1 torch ;;
        curve-*) train "$run" image resized 1 "${run#curve-}" ;;
        *) echo "finetune.sh: RUNS contains $run, which is not a run" >&2; exit 2 ;;
    esac
done
