/** The scripted scans as a program, for mutants: a problem is one line of JSON, and exit code 1. */
import { deleteHasReachedOne, problemOf, twoWritersHaveOneCounter } from './scan-scenarios.ts';

const failure = problemOf(deleteHasReachedOne) ?? problemOf(twoWritersHaveOneCounter);
if (failure !== undefined) {
  console.log(JSON.stringify({ failure }));
  process.exitCode = 1;
}
