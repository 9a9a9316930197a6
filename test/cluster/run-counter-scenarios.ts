/** The scripted attacks on counters as a program, for mutants: a problem is one line of JSON, and exit code 1. */
import { ballotsGoUpAtOne, greatestIsSent, memberWasAway, nobodyCanTell } from './counter-scenarios.ts';

const failure = greatestIsSent(1) ?? memberWasAway(1) ?? nobodyCanTell(1) ?? ballotsGoUpAtOne(1);
if (failure !== undefined) {
  console.log(JSON.stringify({ failure }));
  process.exitCode = 1;
}
