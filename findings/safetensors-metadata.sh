#!/bin/sh
# safetensors 0.0.1 (npm) and what the format allows beside tensors.
#
# Expected: a file whose header has "__metadata__", a map of texts that the format's page names as a special key, is
# read; so are bytes in the middle of a buffer, as the constructor takes a Uint8Array, which may begin anywhere.
# What happens: the map is taken for a tensor without offsets, and the constructor throws; so it does with the files of
# transformers, {"format": "pt"}, and with all of limn's. Of a part of a buffer the length of the header is read at
# the start of the buffer, which gives an error of JSON.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix . safetensors@0.0.1 >/dev/null
cat >show.js <<'JS'
const { SafeTensor } = require('safetensors');
const weight = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
function file(header, before) {
  const text = Buffer.from(JSON.stringify(header));
  const bytes = new Uint8Array(before + 8 + text.length + 8).subarray(before);
  new DataView(bytes.buffer, before).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(new Uint8Array(Float32Array.of(0.5, -2).buffer), 8 + text.length);
  return bytes;
}
function read(bytes) {
  try {
    return Array.from(new Float32Array(new SafeTensor(bytes).getTensor('weight').slice().buffer)).join(' ');
  } catch (error) {
    return error.name;
  }
}
const plain = read(file({ weight }, 0));
const metadata = read(file({ __metadata__: { format: 'pt' }, weight }, 0));
const part = read(file({ weight }, 16));
console.log(`0.5 -2: ${plain}; with __metadata__: ${metadata}; as a part of a buffer: ${part}`);
process.exit(plain === '0.5 -2' && metadata === 'TypeError' && part === 'SyntaxError' ? 0 : 1);
JS
node show.js
