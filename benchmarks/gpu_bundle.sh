#!/bin/sh
# Collect the wheels that a GPU machine without a network lacks: gpu_bundle.sh PYTHON FOLDER. Then see whether they fit
# into 60 MiB together with the checkout, and say what to run there.
set -eu
python=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
download() {
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
        --implementation py --abi none --platform any --dest "$folder" --requirement "$root/requirements/$1"
}
rm -f "$folder"/*.whl
if ! download gpu-bundle-lock.txt 2> "$log"; then
    cat "$log" >&2
    if grep -q "DO NOT MATCH THE HASHES" "$log"; then
        exit 1
    fi
    echo "requirements/gpu-bundle-lock.txt is not used: pip could not download it"
    download gpu-bundle.txt
fi
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
