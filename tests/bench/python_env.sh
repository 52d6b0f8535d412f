#!/bin/sh
# python_env.sh - sourced by the scripts here that need Python: `python_env PACKAGE...` sets $PYTHON.
# The environment is $DGM_VENV, or build/venv below the repository; it is made when absent, and what it lacks is
# installed with pip. dragoman itself never needs Python.

python_env() {
    venv=${DGM_VENV:-$ROOT/build/venv}
    if [ ! -x "$venv/bin/python" ]; then
        echo "making the Python environment $venv" >&2
        python3 -m venv "$venv" || return 1
    fi
    PYTHON=$venv/bin/python
    for package; do
        name=${package%%=*}
        "$PYTHON" -c "import importlib.metadata as m; m.version('$name')" 2>/dev/null && continue
        echo "installing $package into $venv" >&2
        "$PYTHON" -m pip install --quiet "$package" || return 1
    done
}
