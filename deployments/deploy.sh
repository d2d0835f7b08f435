#!/bin/sh
# Everything is in `python -m deployments setup`; this only finds the Python of the checkout.
cd "$(dirname "$0")/.." || exit 1
if [ -x .venv/bin/python ]; then python=.venv/bin/python; else python=python3; fi
exec "$python" -m deployments setup "$@"
