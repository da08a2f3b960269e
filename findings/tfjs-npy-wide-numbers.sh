#!/bin/sh
# tfjs-npy 0.0.3 (npm, with @tensorflow/tfjs-core 0.9.1) and .npy files of 64-bit numbers.
#
# Expected: an array of integers of 64 bits, NumPy's default, or of doubles is read to its values, or refused, as arrays
# of unsigned ones, of halves and of big-endian numbers are ("Implement me").
# What happens: integers are cut to their lower 32 bits and doubles rounded to floats without a word: 2^31 becomes
# -2^31, 2^40 + 7 becomes 7, 1e300 infinity.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix . \
    tfjs-npy@0.0.3 @tensorflow/tfjs-core@0.9.1 >/dev/null
cat >show.js <<'JS'
function npy(type, values, put) {
  const dictionary = `{'descr': '${type}', 'fortran_order': False, 'shape': (${values.length},), }`;
  const text = '\x93NUMPY\x01\x00\x76\x00' + dictionary.padEnd(117) + '\n';
  const bytes = new DataView(new ArrayBuffer(128 + 8 * values.length));
  for (let i = 0; i < 128; i++) bytes.setUint8(i, text.charCodeAt(i));
  values.forEach((value, i) => put(bytes, 128 + 8 * i, value));
  return bytes.buffer;
}
console.warn = () => {};
const { parse } = require('tfjs-npy');
const integers = parse(npy('<i8', [2n ** 31n, 2n ** 40n + 7n, -5n], (b, at, v) => b.setBigInt64(at, v, true)));
const doubles = parse(npy('<f8', [0.5, 16777217, 1e300], (b, at, v) => b.setFloat64(at, v, true)));
const seen = [Array.from(integers.dataSync()).join(' '), Array.from(doubles.dataSync()).join(' ')];
console.log('2147483648 1099511627783 -5, as <i8: ' + seen[0]);
console.log('0.5 16777217 1e300, as <f8: ' + seen[1]);
process.exit(seen[0] === '-2147483648 7 -5' && seen[1] === '0.5 16777216 Infinity' ? 0 : 1);
JS
node show.js 2>/dev/null
