#!/bin/sh
# Collect the wheels that a GPU machine without a network lacks: gpu_bundle.sh PYTHON FOLDER. Then see whether they fit
# into 60 MiB together with the checkout, and say what to run there.
set -eu
python=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
rm -f "$folder"/*.whl
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation py --abi none --platform any --dest "$folder" --requirement "$root/requirements/gpu-bundle.txt"
files=$(git -C "$root" ls-files --cached --others --exclude-standard)
checkout=$(printf '%s\n' "$files" | (cd "$root" && while read -r file; do [ -f "$file" ] && cat "$file"; done) | wc -c)
wheels=$(cat "$folder"/*.whl | wc -c)
mebibytes=$(((checkout + wheels) / 1048576))
if [ "$mebibytes" -ge 60 ]; then
    echo "the checkout and the wheels take $mebibytes MiB, and may take 60" >&2
    exit 1
fi
echo "$folder: $(ls "$folder" | wc -l) wheels; with the checkout $mebibytes MiB of 60."
echo "On the machine, from the checkout with this folder in it: python3 benchmarks/gpu.py --minutes 9"
