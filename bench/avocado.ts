#!/usr/bin/env node
import { createProgram, runProgram } from '../src/cli/program.ts';
import { addBench } from './bench-command.ts';
import { addCheckHistory } from './check-history-command.ts';

/** The `avocado` executable. It lies in this layer because the bench may use all below, and nothing below the bench. */
process.exitCode = await runProgram(addCheckHistory(addBench(createProgram())), process.argv);
