#!/bin/sh
# documents.sh SOURCE BUILD [--update]: the code blocks, commands and claims of README.md and the tutorial, with the
# installed tree (run_documents.py). With --update what the commands print is written into the documents.
. "$(dirname "$0")/stranger.sh"
mv "$prefix" "$work/moved" # pkg-config writes a blank as "\ ", which a shell's words do not take back
for python in /usr/bin/python3 python3; do
    "$python" -c 'import numpy' 2>/dev/null || continue
    status=0
    PYTHONDONTWRITEBYTECODE=1 "$python" "$source/tests/install/run_documents.py" "$work/moved" "$source" ${3:+"$3"} \
        README.md examples/tutorial.md examples/infinite.md || status=$?
    exit "$status"
done
echo "skipped: no Python here imports numpy (Debian: python3-numpy)"
exit 77
