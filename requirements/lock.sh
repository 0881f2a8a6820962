# Write the lock file of the suite's environment: sh requirements/lock.sh UV PYTHON [CONSTRAINTS], by `make lock`.
# PyTorch, and what its default build brings for CUDA, are left out: the Makefile installs the build that is asked for.
set -eu
uv=$1 python=$2 constraints=${3:-/dev/null}
lock=requirements/lock.txt
compile() {
    "$uv" pip compile --quiet --python "$python" --generate-hashes --no-header --no-annotate --constraint "$constraints" "$@"
}
{
    echo "# Written by \`make lock\`. All packages of the suite's environment but PyTorch, with the hashes of their files,"
    echo "# for $("$python" -c 'import platform, sys; print(f"Python {sys.version_info[0]}.{sys.version_info[1]} on {platform.system()}, {platform.machine()}")')."
    {
        compile --extra test pyproject.toml
        compile --no-deps requirements/oracle.txt
    } | awk '/^[a-z0-9]/ { name = $0; sub(/==.*/, "", name); kept = name !~ /^(torch|triton|nvidia-.*|cuda-.*)$/ && !seen[name]++ } kept'
} > "$lock.new"
mv "$lock.new" "$lock"
