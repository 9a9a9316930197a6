/** Plays scripts of single steps as a program: `node dist/test/protocol/print-trace.js FILE`. */
import { readFileSync } from 'node:fs';
import { playTrace } from './play-trace.ts';

const path = process.argv[2];
if (path === undefined) throw new Error('give a script of test/protocol/traces');
process.stdout.write(playTrace(readFileSync(path, 'utf8')));
