#!/bin/sh
# python.sh SOURCE BUILD: limn.py of the installed tree, from a folder of one's own, under a Python that has NumPy.
. "$(dirname "$0")/stranger.sh"
for python in /usr/bin/python3 python3; do
    "$python" -c 'import numpy' 2>/dev/null || continue
    PYTHONPATH=$(dirname "$(find "$prefix" -name limn.py)")
    export PYTHONPATH
    PYTHONDONTWRITEBYTECODE=1 "$python" "$source/tests/install/use_limn.py" "$prefix" "$source"
    # The same module beside the build, as it lies in the source tree.
    cp -r "$source/examples/python" . && mkdir -p tree/examples/python && mv python/limn.py tree/examples/python/
    ln -s "$build" tree/build && cp -r "$prefix/include/limn" include && cp -r include/* tree/
    PYTHONPATH=tree/examples/python PYTHONDONTWRITEBYTECODE=1 "$python" -c '
import limn, numpy
k = limn.kernel("mlp", numpy.eye(3))
assert k.shape == (3, 3) and abs(k - k.T).max() == 0'
    exit 0
done
echo "skipped: no Python here imports numpy (Debian: python3-numpy)"
exit 77
