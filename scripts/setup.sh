# Sourced by the other scripts: makes .venv from uv.lock on a machine with Python 3.11 and pip.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv_version=0.13.8
stamp=.venv/.made-from

find_python() {
    for name in python3 python3.13 python3.12 python3.11 python; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "Python 3.11 or newer is needed; none of python3, python3.13, python3.12, python3.11 is." >&2
    exit 2
}

wanted=$(cat uv.lock pyproject.toml | cksum)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    echo "Installing into .venv (once; PyTorch is large) ..." >&2
    [ -x .venv/bin/python ] || "$(find_python)" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
    # Compiled, or wherever Python writes no bytecode every start would compile PyTorch anew.
    UV_PROJECT_ENVIRONMENT=.venv .venv/bin/uv sync --quiet --locked --inexact --compile-bytecode --extra dev
    echo "$wanted" > "$stamp"
fi
