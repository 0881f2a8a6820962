#!/bin/sh
# Rehearse the measurements on a GPU in a plain checkout, with an environment that has what a GPU machine has:
# rehearse_gpu.sh PYTHON BUNDLE. It begins with one step and resumes.
set -eu
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root"
git ls-files -z --cached --others --exclude-standard | xargs -0 tar -cf - --ignore-failed-read 2>/dev/null | tar -xf - -C "$work"
mkdir -p "$work/build"
cp -r "$2" "$work/build/gpu-bundle"
cd "$work"
rehearse() { env -i PATH="$PATH" HOME="$HOME" LANG=C.UTF-8 "$python" benchmarks/gpu.py --rehearse --results "$work/found" "$@"; }
rehearse --steps text
rehearse
