#!/usr/bin/env node
import { createProgram, runProgram } from '../src/cli/program.ts';
import { benchCommand } from './bench-command.ts';

/** The `avocado` executable. It lies in this layer because the bench may use all below, and nothing below the bench. */
process.exitCode = await runProgram(createProgram().addCommand(benchCommand()), process.argv);
