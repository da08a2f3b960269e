#!/bin/sh
# npyz 0.4.2 (npm) and arrays longer than a stream's chunk.
#
# Expected: load gives the numbers of an .npy file or of an .npz archive, or tells an error.
# What happens: it takes what the stream has at hand, 64 KiB of an .npy file, and of an archive's array hardly more than
# 16 KiB (node 20), and divides that by the count of numbers for the size of one: 6 bytes, say, instead of 8. All but
# the first are then noise, in an array of the right shape. From an archive no error is told; with an .npy file the
# rest of the numbers is taken for a file of its own later, and refused outside of the promise ("Unknown file type").
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
command -v python3 >/dev/null || { echo "needs python3, for its zipfile"; exit 2; }
npm install --silent --no-audit --no-fund --ignore-scripts --prefix . npyz@0.4.2 >/dev/null
cat >show.js <<'JS'
const fs = require('fs');
const { execFileSync } = require('child_process');
const { load } = require('npyz');
const outside = new Set();
process.on('unhandledRejection', error => outside.add(error.message.split('\n')[0]));
const value = (i, j, n) => 1 + (n * i + j) / 65536;
function write(n) {
  const dictionary = `{'descr': '<f8', 'fortran_order': False, 'shape': (${n}, ${n}), }`;
  const bytes = Buffer.alloc(128 + 8 * n * n);
  bytes.write('\x93NUMPY\x01\x00\x76\x00' + dictionary.padEnd(117) + '\n', 'latin1');
  for (let k = 0; k < n * n; k++) bytes.writeDoubleLE(value(0, k, n), 128 + 8 * k);
  fs.writeFileSync('kernel.npy', bytes);
  execFileSync('python3', ['-m', 'zipfile', '-c', 'kernel.npz', 'kernel.npy']);
}
const right = rows => rows.flatMap((row, i) => row.filter((x, j) => x === value(i, j, rows.length))).length;
(async () => {
  const seen = [];
  for (const n of [40, 100]) {
    write(n);
    const archive = right((await load('kernel.npz')).kernel), after = outside.size;
    const alone = right(await load('kernel.npy'));
    console.log(`${n} x ${n} doubles: ${archive} of .npz and ${alone} of .npy are right`);
    seen.push(archive, alone, after);
  }
  await new Promise(resolve => setTimeout(resolve, 500));
  console.log(`outside of the promises: ${[...outside].join(', ')}`);
  process.exit(seen.join() === '1600,1600,0,1,1,0' && outside.has('Unknown file type:') ? 0 : 1);
})();
JS
node show.js
