#!/bin/sh
# test_writers.sh LIBLIMN.SO LIMN [NODE_MODULES]: writers.py under the Python that has most of its writers; 77, skipped,
# where none has NumPy.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for needs in "numpy, pandas, torch" "numpy, pandas" numpy; do
    for python in python3 /usr/bin/python3; do
        "$python" -c "import $needs" 2>/dev/null || continue
        status=0
        "$python" "$here/writers.py" "$@" || status=$?
        exit "$status"
    done
done
echo "skipped: no Python here imports numpy (Debian: python3-numpy)"
exit 77
