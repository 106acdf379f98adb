#!/bin/sh
# Make the virtual environment $1 with the locks of $2 (cpu or gpu) and the tools, and prepare the models.
# Needs Python >= 3.11 with venv, and package indexes; running it again repairs what is missing.
set -eu
venv=$1 extra=$2
TORCH_CPU=https://download.pytorch.org/whl/cpu

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; }
say() { printf '── %s\n' "$*"; }

if ! usable "$venv/bin/python"; then
    for python in python3.11 python3.12 python3.13 python3 none; do usable "$python" && break; done
    if [ "$python" = none ]; then
        echo "setup needs Python 3.11, 3.12 or 3.13 with the venv module; found: $(python3 --version 2>&1)." >&2
        echo "Install one (on Debian and Ubuntu: apt-get install python3 python3-venv) and run make again." >&2
        exit 1
    fi
    say "virtual environment $venv ($("$python" --version))"
    "$python" -m venv --clear "$venv"
fi
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# The CPU build of torch is on no plain PyPI: take it from a configured index where one has it, else from PyTorch's.
if torch=$(grep '^torch==.*+cpu$' "requirements/$extra.txt"); then
    if ! pip install --quiet --dry-run --no-deps "$torch" >/dev/null 2>&1; then
        say "$torch from $TORCH_CPU"
        pip install --no-deps --index-url "$TORCH_CPU" "$torch"
    fi
fi
say "packages of requirements/$extra.txt and requirements/dev.txt (about 1.5 GB the first time)"
[ -t 1 ] && quiet= || quiet=-qq # a terminal shows pip's progress, a log only errors
# shellcheck disable=SC2086  # one word or none
pip install $quiet --no-deps -r "requirements/$extra.txt" -r requirements/dev.txt
pip install -qq --no-deps --no-build-isolation --editable .
say models
"$venv/bin/python" -m llmrec_ray.models all-MiniLM-L6-v2 SmolLM2-135M-Instruct
