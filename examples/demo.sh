#!/bin/sh
# What `make demo` runs: a trained CLIP names pictures, with no network. Says what is missing where there is no model.
set -eu
if [ ! -e "$MODEL/config.json" ]; then
    echo "make demo needs a trained checkpoint, and there is none at $MODEL." >&2
    echo "Name one and some pictures: make demo MODEL=path/or/hub-id IMAGES=photos LABELS=names.txt" >&2
    exit 2
fi
echo "clip-zoo classify $IMAGES --labels-file $LABELS --template 'a picture of {}' --model $MODEL --top-k 3"
HF_HUB_OFFLINE=1 exec "$BIN/clip-zoo" classify "$IMAGES" --labels-file "$LABELS" --template "a picture of {}" \
    --model "$MODEL" --top-k 3
