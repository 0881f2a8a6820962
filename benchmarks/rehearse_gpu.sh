#!/bin/sh
# Rehearse the measurements on a GPU in a plain checkout, with an environment that has what a GPU machine has:
# rehearse_gpu.sh PYTHON BUNDLE. It begins with one step and resumes.
set -eu
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
bundle=$(cd "$2" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$(dirname "$0")/.."
mkdir -p "$work/checkout/build"
# Files that were deleted without a commit are still listed; tar reports them and continues.
git ls-files -z --cached --others --exclude-standard > "$work/files"
tar --create --null --files-from="$work/files" --ignore-failed-read 2>/dev/null \
    | tar --extract --directory="$work/checkout"
cp -r "$bundle" "$work/checkout/build/gpu-bundle"
cd "$work/checkout"
# XLA does not optimize: compiling takes most of the time, and the figures mean nothing.
rehearse() {
    env -i PATH="$PATH" HOME="${HOME:-/root}" LANG=C.UTF-8 XLA_FLAGS=--xla_backend_optimization_level=0 \
        "$python" benchmarks/gpu.py --rehearse --results "$work/found" "$@"
}
rehearse --steps text
rehearse
