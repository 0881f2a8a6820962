#!/bin/sh
# Install each extra alone, at its lowest direct versions, on the oldest and the newest Python, and run small_parity.py:
# lowest.sh UV FOLDER. What passes here are the floors in pyproject.toml.
#   PYTHONS   the versions of Python       (3.11 3.13, the newest for which TensorFlow has a release)
#   EXTRAS    the extras, one at a time    (none torch tf flax train embed evaluate search serve plots demo)
# PyTorch's old releases come with CUDA where its build for a CPU is not available: 3 GB.
set -eu
uv=$1
folder=$2
cd "$(dirname "$0")/../.."

find_python() { # version
    for candidate in "python$1" "${HOME:-/root}"/.pyenv/versions/"$1".*/bin/python"$1"; do
        if "$candidate" -c '' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "$1" # uv downloads it
}

failed=
for version in ${PYTHONS:-3.11 3.13}; do
    python=$(find_python "$version")
    for extra in ${EXTRAS:-none torch tf flax train embed evaluate search serve plots demo}; do
        place=$folder/$version-$extra
        case $extra in
        none) extras= ;;
        train) extras="train flax" ;; # its optimizer is Flax's
        serve) extras="serve flax" ;; # it serves any backend's model; Flax installs fastest
        embed) extras="embed flax" ;; # a model to embed with
        *) extras=$extra ;;
        esac
        options=
        for one in $extras; do
            options="$options --extra $one"
        done
        rm -rf "$place"
        echo "Python $version, $extra"
        # Built packages alone: a release without a wheel for this Python is not the lowest that can be had.
        "$uv" venv --quiet --python "$python" "$place" \
            && "$uv" pip install --quiet --python "$place/bin/python" --requirements pyproject.toml $options \
                --resolution lowest-direct --only-binary :all: \
            && "$uv" pip install --quiet --python "$place/bin/python" --no-deps --editable . \
            && TF_CPP_MIN_LOG_LEVEL=3 "$place/bin/python" -P -W ignore tests/environments/small_parity.py $extras \
            || failed="$failed $version-$extra"
    done
done
if [ -n "$failed" ]; then
    echo "did not pass:$failed" >&2
    exit 1
fi
