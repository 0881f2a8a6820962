#!/bin/sh
# Distil a student, prove that it gives the same numbers in all three frameworks, and measure it in each language.
# Finished parts are not repeated, and an interrupted distillation continues where it stopped.
#   BIN      the environment's programs     (.venv/bin)
#   BUILD    where data and students go     (build/multilingual)
#   TEXTS    shapes or emoji                (shapes)
#   TEACHER  the model to distil from       (the demo's, or the emoji example's last checkpoint from scratch)
#   EMOJI    what the emoji example wrote   (build/emoji)
set -eu
cd "$(dirname "$0")/../.."
BIN=${BIN:-.venv/bin}
BUILD=${BUILD:-build/multilingual}
TEXTS=${TEXTS:-shapes}
EMOJI=${EMOJI:-build/emoji}
HERE=examples/multilingual
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"  # beside other programs, idle threads that spin cost most of the time

case $TEXTS in
    shapes)
        TEACHER=${TEACHER:-examples/shapes/checkpoint}
        [ -e "$BUILD/shapes/parallel.tsv" ] || "$BIN/python" "$HERE/shape_sentences.py" "$BUILD/shapes"
        set -- --vocabulary 1000 --positions 32 --width 96 --layers 2 --steps 600 --batch-size 128
        ;;
    emoji)
        TEACHER=${TEACHER:-$(ls -d "$EMOJI"/run-scratch/step-* 2>/dev/null | tail -n 1)}
        [ -n "$TEACHER" ] || { echo "multilingual.sh: $EMOJI/run-scratch has no checkpoint; train one as examples/emoji/README.md says, or give TEACHER" >&2; exit 2; }
        [ -e "$BUILD/emoji/parallel.tsv" ] || "$BIN/python" "$HERE/emoji_names.py" "$EMOJI/test" "$BUILD/emoji"
        set -- --layers 2 --steps 2000 --lr 3e-3
        ;;
    *) echo "multilingual.sh: TEXTS is $TEXTS; expected shapes or emoji" >&2; exit 2 ;;
esac
[ -e "$BUILD/$TEXTS/student" ] || "$BIN/python" "$HERE/distill.py" "$TEACHER" "$BUILD/$TEXTS/parallel.tsv" \
    "$BUILD/$TEXTS/student" "$@"
"$BIN/clip-zoo" verify "$BUILD/$TEXTS/student"
"$BIN/python" "$HERE/multilingual_report.py" "$BUILD/$TEXTS/test.jsonl" "$TEACHER" "$BUILD/$TEXTS/student" \
    --json "$BUILD/$TEXTS/results.json"
