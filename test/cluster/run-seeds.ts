/**
 * Runs random seeds as a program: `node dist/test/cluster/run-seeds.js BIAS FIRST [COUNT]`. One seed shows its whole
 * trace; of several the first that fails ends it. A failure is one line of JSON at the end, and exit code 1.
 */
import { biases } from './random-plan.ts';
import { runSeed } from './random-run.ts';

const bias = biases.find((known) => known === process.argv[2]);
if (bias === undefined) throw new Error(`give one of these first: ${biases.join(', ')}`);
const first = Number(process.argv[3] ?? 1);
const count = Number(process.argv[4] ?? 1);

for (let seed = first; seed < first + count; seed++) {
  const { failure, trace } = runSeed(seed, bias);
  if (count === 1) console.log(trace);
  if (failure === undefined) continue;
  console.log(JSON.stringify({ seed, failure }));
  process.exitCode = 1;
  break;
}
