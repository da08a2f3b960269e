#!/bin/sh
# idx-data 1.1.0 (npm, with tslib 2.6.2) and IDX files of signed bytes, shorts and doubles.
#
# Expected: loadBits reads the six types of the format, which its page lists by their codes, or its promise is rejected
# with a reason.
# What happens: codes 9, 11 and 14 throw in a listener of the stream, outside the promise: the reason reaches no catch
# around the call, only the process ("uncaughtException", which ends it where nobody listens), and the promise is
# rejected afterwards with "No data found!". Bytes, ints and floats are read.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix . idx-data@1.1.0 tslib@2.6.2 >/dev/null
cat >show.js <<'JS'
const fs = require('fs');
const { loadBits } = require('idx-data');
const outside = [];
process.on('uncaughtException', error => outside.push(error.message));
const types = [['unsigned byte', 8, 1, 'writeUInt8'], ['signed byte', 9, 1, 'writeInt8'],
  ['short', 11, 2, 'writeInt16BE'], ['int', 12, 4, 'writeInt32BE'], ['float', 13, 4, 'writeFloatBE'],
  ['double', 14, 8, 'writeDoubleBE']];
(async () => {
  const seen = [];
  for (const [name, code, size, write] of types) {
    const bytes = Buffer.from([0, 0, code, 1, 0, 0, 0, 3, ...Buffer.alloc(3 * size)]);
    [1, 2, 3].forEach((value, i) => bytes[write](value, 8 + size * i));
    fs.writeFileSync('three.idx', bytes);
    const before = outside.length;
    const inside = await loadBits('three.idx').then(array => Array.from(array.data).join(' '), e => e.message);
    seen.push(`${name}: ${inside}` + (outside.length > before ? `; outside: ${outside[before]}` : ''));
    console.log(seen[seen.length - 1]);
  }
  const thrown = i => seen[i].endsWith('No data found!; outside: Unexpected buffer type received');
  const read = i => seen[i].endsWith(': 1 2 3');
  process.exit([1, 2, 5].every(thrown) && [0, 3, 4].every(read) ? 0 : 1);
})();
JS
node show.js
