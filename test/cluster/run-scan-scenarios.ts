/** The scripted scans as a program, for mutants: a problem is one line of JSON, and exit code 1. */
import {
  deleteHasReachedOne,
  oneReachesFurther,
  problemOf,
  putHasReachedOne,
  twoWritersHaveOneCounter,
} from './scan-scenarios.ts';

const scenarios = [deleteHasReachedOne, twoWritersHaveOneCounter, putHasReachedOne, oneReachesFurther];
const failure = scenarios.map(problemOf).find((problem) => problem !== undefined);
if (failure !== undefined) {
  console.log(JSON.stringify({ failure }));
  process.exitCode = 1;
}
