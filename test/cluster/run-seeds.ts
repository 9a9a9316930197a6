/**
 * Runs random seeds as a program: `node dist/test/cluster/run-seeds.js FIRST [COUNT]`. One seed shows its whole trace;
 * of several the first that fails ends it, with exit code 1 and the failure as one line of JSON.
 */
import { runSeed } from './random-run.ts';

const first = Number(process.argv[2] ?? 1);
const count = Number(process.argv[3] ?? 1);

for (let seed = first; seed < first + count; seed++) {
  const { failure, trace } = runSeed(seed);
  if (count === 1) console.log(trace);
  if (failure === undefined) continue;
  console.log(JSON.stringify({ seed, failure }));
  process.exitCode = 1;
  break;
}
