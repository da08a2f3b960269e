#!/bin/sh
# deb.sh SOURCE BUILD: the Debian package by cpack; its files, unpacked, serve as they are. With LIMN_DPKG=1, as root,
# it is installed, used and removed, too.
. "$(dirname "$0")/stranger.sh"
command -v dpkg-shlibdeps >/dev/null 2>&1 || { echo "skipped: no dpkg-shlibdeps (Debian: dpkg-dev)"; exit 77; }
(cd "$build" && cpack -B "$work/package" >"$work/log" 2>&1) || { cat "$work/log" >&2; fail "no package"; }
package=$(echo "$work"/package/*.deb)
for needed in libc6 libopenblas0-openmp liblapacke libsleef3 libcjson1 libzip; do
    dpkg-deb -f "$package" Depends | grep -q "$needed" || fail "it does not depend on $needed"
done
if command -v lintian >/dev/null 2>&1; then
    said=$(lintian --allow-root "$package" 2>/dev/null) && [ -z "$said" ] || fail "lintian: $said"
fi
use() # the tool, and the folder of an example
{
    says "NTK of mlp in the limit" "$1" kernel mlp --probes 2 --no-check
    cp "$2/residual.c" net.c
    says "NTK of net.c in the limit" "$1" kernel net.c --data digits --probes 2 --no-check
}
dpkg-deb -x "$package" "$work/unpacked"
use "$work/unpacked/usr/bin/limn" "$work/unpacked/usr/share/doc/limn/examples"
if [ "${LIMN_DPKG:-0}" = 1 ]; then
    dpkg -i "$package" >/dev/null
    use /usr/bin/limn /usr/share/doc/limn/examples
    dpkg -P limn >/dev/null
    [ ! -e /usr/include/limn ] && [ ! -e /usr/share/limn ] && [ ! -e /usr/bin/limn ] || fail "files stay behind"
fi
