#!/bin/sh
# numpy-parser 1.2.3 (npm) and .npy files of vectors.
#
# Expected: an array of NumPy's shape (3,) has the shape [3], as one of (2, 3) has [2, 3], and a header of version 2 or 3
# of the format, whose length takes four bytes instead of two, is as good as one of version 1.
# What happens: a vector comes back as a matrix of one column, [3, 1], so that labels look like a table of targets; and
# of each header of version 2 it is told that its padding is wrong, as two bytes of the length are left out of the sum.
# The values are right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix . numpy-parser@1.2.3 >/dev/null
cat >show.js <<'JS'
const { fromArrayBuffer } = require('numpy-parser');
function npy(version, shape, values) {
  const dictionary = `{'descr': '<f8', 'fortran_order': False, 'shape': ${shape}, }`;
  const start = version === 1 ? 10 : 12;
  const bytes = new DataView(new ArrayBuffer(128 + 8 * values.length));
  [0x93, ...Buffer.from('NUMPY'), version, 0, 128 - start].forEach((byte, i) => bytes.setUint8(i, byte));
  Buffer.from(dictionary.padEnd(127 - start) + '\n').forEach((byte, i) => bytes.setUint8(start + i, byte));
  values.forEach((value, i) => bytes.setFloat64(128 + 8 * i, value, true));
  return bytes.buffer;
}
const said = [];
for (const kind of ['log', 'warn', 'error', 'info', 'debug']) {
  const print = console[kind];
  console[kind] = (...words) => words[0] === 'seen' ? print(...words.slice(1)) : said.push(words.join(' '));
}
const vector = fromArrayBuffer(npy(1, '(3,)', [1, 2, 3]));
const before = said.length;
const second = fromArrayBuffer(npy(2, '(2, 3)', [1, 2, 3, 4, 5, 6]));
console.log('seen', `(3,) is read as [${vector.shape}]`);
console.log('seen', `(2, 3) of version 2 is read as [${second.shape}], after: ${said.slice(before).join(' ')}`);
const same = `${vector.shape}` === '3,1' && before === 0 && `${second.shape}` === '2,3' &&
  `${Array.from(second.data)}` === '1,2,3,4,5,6' && /padded/.test(said[before] || '');
process.exit(same ? 0 : 1);
JS
node show.js
