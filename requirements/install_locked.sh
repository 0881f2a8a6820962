# Install a lock file: sh requirements/install_locked.sh PYTHON LOCK.
# A file whose hash differs ends this with an error. If the lock is for another Python or machine, or a release of it
# is not available here, this says so and installs nothing; the Makefile then installs the newest releases that fit.
set -eu
python=$1 lock=$2
here=$("$python" -c 'import platform, sys
print(f"# for Python {sys.version_info[0]}.{sys.version_info[1]} on {platform.system()}, {platform.machine()}.")')
if ! grep -qxF "$here" "$lock"; then
    echo "$lock is not used: it is not ${here#\# }"
    exit 0
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement "$lock" 2> "$log"; then
    exit 0
fi
cat "$log" >&2
if grep -q "DO NOT MATCH THE HASHES" "$log"; then
    exit 1
fi
echo "$lock is not used: pip could not install it"
