/** Every command line in the documentation and in --help is one: the command is there, and its options, and what it asks for. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { addAttack } from '../../bench/attack/attack-command.ts';
import { addBench } from '../../bench/bench-command.ts';
import { addCheckHistory } from '../../bench/check-history-command.ts';
import { createProgram } from '../../src/cli/program.ts';

type Command = ReturnType<typeof createProgram>;

const PROJECT = new URL('../../../', import.meta.url).pathname;
const PROGRAM = addCheckHistory(addAttack(addBench(createProgram())));

/** Of a text, with lines that go on joined, and without remarks. */
function commandLinesOf(text: string): string[] {
  const lines = text.replace(/\\\n\s*/g, ' ').split('\n');
  return lines.flatMap((line) => {
    const match = /^(?: {2,4}|\$ )?(?:npx )?avocado ([a-z].*)$/.exec(line);
    return match === null ? [] : match[1]!.replace(/\s+(#\s|&&|[|>]).*$/, '').trim();
  });
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

function* allOf(command: Command): Generator<Command> {
  yield command;
  for (const each of command.commands) yield* allOf(each);
}

/** What is wrong with a line; undefined: nothing. */
function problemOf(line: string): string | undefined {
  // Places for what the reader has: <public key>, "$NONCE".
  const words = (line.replace(/<[^>]*>/g, 'X').match(/"[^"]*"|'[^']*'|\S+/g) ?? []).map((word) =>
    word.replace(/^\.\.\.$/, ''),
  );
  const isWhole = !words.includes('');
  let command = PROGRAM;
  while (words.length > 0) {
    const next = command.commands.find((each) => each.name() === words[0]);
    if (next === undefined) break;
    command = next;
    words.shift();
  }
  if (
    command === PROGRAM ||
    (command.commands.length > 0 &&
      command.registeredArguments.length === 0 &&
      words.length > 0 &&
      !words[0]!.startsWith('-'))
  ) {
    return `there is no command ${words[0] ?? ''}`;
  }
  const needed = command.registeredArguments.filter(({ required }) => required).length;
  const given = new Set<string>();
  let argumentCount = 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    // Behind that stands another program's command line.
    if (command.registeredArguments.at(-1)?.variadic === true && argumentCount >= needed) break;
    if (word === '') continue;
    if (!/^--?[a-z]/.test(word)) {
      argumentCount++;
      continue;
    }
    const [name] = word.split('=');
    const option = command.options.find(({ long, short }) => long === name || short === name);
    if (option === undefined) return `${command.name()} has no option ${name}`;
    given.add(option.attributeName());
    if ((option.required || option.optional) && !word.includes('=')) i++;
    if (option.required && i >= words.length) return `${name} needs a value`;
  }
  if (!isWhole) return undefined;
  const lacking = command.options.find((option) => option.mandatory && !given.has(option.attributeName()));
  if (lacking !== undefined) return `${lacking.flags} is missing`;
  return argumentCount < needed ? `${command.name()} needs ${needed} arguments` : undefined;
}

test('should find what is wrong with a line', () => {
  assert.match(problemOf('cas shew --cas X')!, /no command shew/);
  assert.match(problemOf('nothing')!, /no command nothing/);
  assert.match(problemOf('cas show --case X')!, /no option --case/);
  assert.match(problemOf('cas show')!, /--cas <reference> is missing/);
  assert.match(problemOf('get --cluster X')!, /needs 1 arguments/);
  assert.match(problemOf('cas show --cas')!, /needs a value/);
  assert.equal(problemOf('cas set-profile auditor r:,a: --cas ... --operator-key operator.json'), undefined);
});

test('should know every command of the documentation', () => {
  const docs = readdirSync(join(PROJECT, 'docs')).filter((name) => name.endsWith('.md'));
  const files = ['README.md', 'deploy/README.md', ...docs.map((name) => `docs/${name}`)];
  const found = files.flatMap((name) =>
    commandLinesOf(readFileSync(join(PROJECT, name), 'utf8')).map((line) => [name, line] as const),
  );
  assert.ok(found.length > 25, `there are more than ${found.length}`);
  for (const [name, line] of found) assert.equal(problemOf(line), undefined, `${name}: avocado ${line}`);
});

test('should know every command of --help, and have examples for each', () => {
  for (const command of allOf(PROGRAM)) {
    const lines = commandLinesOf(helpOf(command).split('Examples:')[1] ?? '');
    if (command !== PROGRAM) assert.ok(lines.length > 0, `${command.name()} --help has examples`);
    for (const line of lines) assert.equal(problemOf(line), undefined, `${command.name()} --help: avocado ${line}`);
  }
});
