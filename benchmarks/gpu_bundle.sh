#!/bin/sh
# Collect the wheels that a GPU machine without a network lacks: gpu_bundle.sh PYTHON FOLDER. Then see whether they fit
# into 60 MiB together with the checkout, and say what to run there.
set -eu
python=$1 folder=$2
root=$(cd "$(dirname "$0")/.." && pwd)
rm -rf "$folder"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation py --abi none --platform any --dest "$folder" --requirement "$root/requirements/gpu-bundle.txt"
cd "$root"
checkout=$(git ls-files -z --cached --others --exclude-standard | xargs -0 cat 2>/dev/null | wc -c)
wheels=$(cat "$folder"/*.whl | wc -c)
mebibytes=$(((checkout + wheels) / 1048576))
if [ "$mebibytes" -ge 60 ]; then
    echo "the checkout and the wheels take $mebibytes MiB, and may take 60" >&2
    exit 1
fi
echo "$folder: $(ls "$folder" | wc -l) wheels; with the checkout $mebibytes MiB of 60."
echo "On the machine, from the checkout with this folder in it: python3 benchmarks/gpu.py --minutes 9"
