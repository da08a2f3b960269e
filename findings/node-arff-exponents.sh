#!/bin/sh
# node-arff 1.1.0 (npm) and numbers of ARFF that have an exponent.
#
# Expected: 1e+05, as R prints 100000, and 2E3 are 100000 and 2000, and a nominal value that is quoted for its blank,
# 'first class', keeps it.
# What happens: a number without a point is read up to its exponent, 1e+05 as 1 and 2E3 as 2; one with a point is right.
# Names of values lose their blanks, quoted or not. No error is told.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix . node-arff@1.1.0 >/dev/null
cat >table.arff <<'ARFF'
@relation table
@attribute size numeric
@attribute kind {'first class', second}
@data
1e+05,'first class'
1.5e+05,second
2E3,second
ARFF
cat >show.js <<'JS'
require('node-arff').load('table.arff', (error, table) => {
  const seen = table.data.map((row) => row.size).join(' ') + '; ' + table.types.kind.oneof.join(', ');
  console.log('1e+05 1.5e+05 2E3; first class, second are read as ' + seen);
  process.exit(!error && seen === '1 150000 2; firstclass, second' ? 0 : 1);
});
JS
node show.js
