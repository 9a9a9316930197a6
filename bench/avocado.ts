#!/usr/bin/env node
import { createProgram, runProgram } from '../src/cli/program.ts';
import { addAttack } from './attack/attack-command.ts';
import { addBench } from './bench-command.ts';
import { addCheckHistory } from './check-history-command.ts';

/** The `avocado` executable. It lies in this layer because the bench may use all below, and nothing below the bench. */
process.exitCode = await runProgram(addCheckHistory(addAttack(addBench(createProgram()))), process.argv);
