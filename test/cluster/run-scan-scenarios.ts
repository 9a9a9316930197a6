/** The scripted scans as a program, for mutants: a problem is one line of JSON, and exit code 1. */
import { deleteHasReachedOne, problemOf, putHasReachedOne, twoWritersHaveOneCounter } from './scan-scenarios.ts';

const failure = problemOf(deleteHasReachedOne) ?? problemOf(twoWritersHaveOneCounter) ?? problemOf(putHasReachedOne);
if (failure !== undefined) {
  console.log(JSON.stringify({ failure }));
  process.exitCode = 1;
}
