#!/bin/sh
# Make the environment of a GPU machine on a machine without a GPU: gpu_environment.sh FOLDER [LOCK]. Python 3.12 and
# requirements/gpu-machine.txt, nothing else; with LOCK, as the Makefile installs a lock file.
set -eu
folder=$1 lock=${2:-}
requirements=$(dirname "$0")/../requirements/gpu-machine.txt
torch=$(sed -n 's/^\(torch==[0-9.]*\).*/\1/p' "$requirements")

is_3_12() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null; }
install() { "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }

rm -rf "$folder"
for candidate in "${PYTHON312:-}" python3.12 "${HOME:-/root}"/.pyenv/versions/3.12.*/bin/python3.12; do
    if [ -n "$candidate" ] && is_3_12 "$candidate"; then
        "$candidate" -m venv "$folder"
        break
    fi
done
if [ ! -x "$folder/bin/python" ]; then
    echo "Python 3.12 is needed, as on the GPU machine; install it, or name it: make PYTHON312=/path/to/python3.12" >&2
    exit 1
fi
if [ -n "$lock" ]; then
    sh "$(dirname "$0")/../requirements/install_locked.sh" "$folder/bin/python" "$lock"
fi
# PyTorch's build for a CPU where it can be had, and otherwise the default one, which also runs without a GPU.
install uv
"$folder/bin/uv" pip install --quiet --python "$folder/bin/python" --torch-backend=cpu "$torch" 2>/dev/null \
    || install "$torch"
install --requirement "$requirements"
"$folder/bin/python" -m pip uninstall --quiet --yes uv
