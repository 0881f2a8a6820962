# Write the lock files: sh requirements/lock.sh UV PYTHON [CONSTRAINTS], by `make lock`. lock.txt is the environment of
# the suite; gpu-machine-lock.txt and gpu-bundle-lock.txt are those of `make rehearse-gpu`, which runs on Python 3.12.
# PyTorch, and what its default build brings for CUDA, are left out: the Makefile installs the build that is asked for.
set -eu
uv=$1 python=$2 constraints=${3:-/dev/null}
compile() {
    "$uv" pip compile --quiet --generate-hashes --no-header --no-annotate --constraint "$constraints" "$@"
}
# Write a lock file from compiled requirements: lock FILE PYTHON_VERSION DESCRIPTION.
lock() {
    {
        echo "# Written by \`make lock\`. $3, with the hashes of their files,"
        echo "# for Python $2 on $("$python" -c 'import platform; print(f"{platform.system()}, {platform.machine()}")')."
        awk '/^[a-z0-9]/ { name = $0; sub(/==.*/, "", name); kept = name !~ /^(torch|triton|nvidia-.*|cuda-.*)$/ && !seen[name]++ } kept'
    } > "$1.new"
    mv "$1.new" "$1"
}
{
    compile --python "$python" --extra test pyproject.toml
    compile --python "$python" --no-deps requirements/oracle.txt
} > requirements/lock.new
lock requirements/lock.txt "$("$python" -c 'import sys; print(f"{sys.version_info[0]}.{sys.version_info[1]}")')" \
    "All packages of the suite's environment but PyTorch" < requirements/lock.new
echo uv | compile --python-version 3.12 requirements/gpu-machine.txt - > requirements/lock.new  # it installs PyTorch
lock requirements/gpu-machine-lock.txt 3.12 \
    "All packages of requirements/gpu-machine.txt but PyTorch, and uv" < requirements/lock.new
compile --python-version 3.12 --no-deps requirements/gpu-bundle.txt > requirements/lock.new
lock requirements/gpu-bundle-lock.txt 3.12 "The packages of requirements/gpu-bundle.txt" < requirements/lock.new
rm requirements/lock.new
