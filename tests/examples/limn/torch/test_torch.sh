#!/bin/sh
# test_torch.sh LIMN: torch_models.py under a Python that has PyTorch (Debian: python3-torch); 77, skipped, without one.
set -eu
limn=$1 here=$(cd "$(dirname "$0")" && pwd)
for python in python3 /usr/bin/python3; do
    "$python" -c 'import numpy, torch' 2>/dev/null || continue
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    status=0
    "$python" "$here/torch_models.py" "$limn" "$work" || status=$?
    exit "$status"
done
echo "skipped: no Python here imports numpy and torch (Debian: python3-torch)"
exit 77
