#!/bin/sh
# Small tables that Debian packages carry: limn's NTK beside scikit-learn. Builds limn and python3-sklearn's environment
# as examples/run.sh does, and unpacks r-cran-ddalpha and weka (neither R nor Java is installed). Further options go to
# tables.py; --short takes scikit-learn's own tables alone.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd -P)
. "$root/.ci/build.sh"
limn_build limn
data=$root/build/tables
for package in r-cran-ddalpha weka; do
    [ ! -d "$data/$package" ] || continue
    case " $* " in *' --short '*) continue ;; esac
    mkdir -p "$data/deb"
    (cd "$data/deb" && apt-get -qq download "$package" 2>/dev/null) || {
        echo "limn: apt-get could not download $package: its tables are left out" >&2
        continue
    }
    dpkg -x "$data/deb/${package}"_*.deb "$data/$package.new"
    mv "$data/$package.new" "$data/$package"
done
exec /usr/bin/python3 "$root/examples/tables/tables.py" "$root/build/limn" --data "$data" "$@"
