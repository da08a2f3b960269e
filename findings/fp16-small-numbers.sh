#!/bin/sh
# fp16 1.0.0 (npm) and numbers that are too small for a half.
#
# Expected: setFloat16(view, offset, value) writes value at offset, as DataView's setFloat32 does, as 0 if it is less
# than 2^-25, and rounds a double to the nearest half, to the even one of two.
# What happens: the 0 of such a number is written to the view's first two bytes, wherever it belongs: its own place
# keeps what it had, and the first number of the array, or the head of the .npy file, is lost. No error is told. All
# numbers are rounded to floats before, so that 1 + 2^-11 + 2^-40 becomes 1, although the half above it is nearer.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix . fp16@1.0.0 >/dev/null
cat >show.mjs <<'JS'
import { getFloat16, setFloat16 } from 'fp16';
const view = new DataView(new ArrayBuffer(8));
const weights = [1, 2, 1e-9, -3];
weights.forEach((_, i) => setFloat16(view, 2 * i, 7, true));
weights.forEach((weight, i) => setFloat16(view, 2 * i, weight, true));
const seen = weights.map((_, i) => getFloat16(view, 2 * i, true)).join(' ');
console.log(`${weights.join(' ')}, written over 7 7 7 7, are read as ${seen}`);

const dictionary = "{'descr': '<f2', 'fortran_order': False, 'shape': (1,), }";
const head = '\x93NUMPY\x01\x00\x76\x00' + dictionary.padEnd(117) + '\n';
const file = Buffer.alloc(head.length + 2);
file.write(head, 'latin1');
setFloat16(new DataView(file.buffer, file.byteOffset, file.length), head.length, 1e-9, true);
const magic = file.subarray(0, 6).toString('hex');
console.log(`.npy's first bytes are 934e554d5059; after 1e-9 was written at ${head.length}: ${magic}`);

setFloat16(view, 0, 1 + 2 ** -11 + 2 ** -40, true);
const rounded = getFloat16(view, 0, true);
console.log(`1 + 2^-11 + 2^-40, between 1 and 1.0009765625 and nearer to the second, becomes ${rounded}`);
process.exit(seen === '0 2 7 -3' && magic === '0000554d5059' && rounded === 1 ? 0 : 1);
JS
node show.mjs
