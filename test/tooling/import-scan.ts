/**
 * Finds what a TypeScript source imports, type imports included. TypeScript 7 has no parser to call from JavaScript, so
 * this scans: comments, strings, templates and regular expressions are blanked first, then the few shapes of import are
 * matched in what is left. Offsets stay the same, so a specifier is read from the original text.
 */

export interface FoundImport {
  /** Undefined when the module to load is computed at run time. */
  specifier: string | undefined;
  line: number;
}

/** Where a statement may begin: not as a property (`a.import`), nor inside a longer name. */
const WORD_START = String.raw`(?<![\w$.#])`;
const IMPORT_SHAPES: readonly RegExp[] = [
  // import x, { y } from '…'; import type …; import * as z from '…'
  new RegExp(String.raw`${WORD_START}import\b(?!\s*[.(])(?:[^;'"(){}=]|\{[^}]*\})*?\bfrom\s*(?=["'])`, 'g'),
  // import '…'
  new RegExp(String.raw`${WORD_START}import\s*(?=["'])`, 'g'),
  // export { x } from '…'; export * as y from '…'; export type { z } from '…'
  new RegExp(String.raw`${WORD_START}export\s*(?:type\s*)?(?:\*(?:\s*as\s+[\w$]+)?|\{[^}]*\})\s*from\s*(?=["'])`, 'g'),
  // import('…') as an expression and in a type; require('…')
  new RegExp(String.raw`${WORD_START}(?:import|require)\s*\(\s*`, 'g'),
];
/** After these words a slash begins a regular expression; after any other name it divides. */
const WORDS_BEFORE_REGEX = new Set([
  'return',
  'typeof',
  'case',
  'in',
  'of',
  'new',
  'delete',
  'void',
  'throw',
  'await',
  'yield',
  'else',
  'do',
]);

export function findImports(source: string): FoundImport[] {
  const blanked = blank(source);
  const specifierOffsets = new Set<number>();
  for (const shape of IMPORT_SHAPES) {
    for (const match of blanked.matchAll(shape)) specifierOffsets.add(match.index + match[0].length);
  }
  return [...specifierOffsets]
    .sort((a, b) => a - b)
    .map((offset) => ({ specifier: readString(source, offset), line: lineAt(source, offset) }));
}

function readString(source: string, offset: number): string | undefined {
  const quote = source[offset];
  if (quote !== "'" && quote !== '"') return undefined;
  return source.slice(offset + 1, stringEnd(source, offset) - 1);
}

function lineAt(source: string, offset: number): number {
  return source.slice(0, offset).split('\n').length;
}

/** The same text with the insides of comments, strings, templates and regular expressions replaced by spaces. */
function blank(source: string): string {
  const out = source.split('');
  const hide = (from: number, to: number): void => {
    for (let i = from; i < to; i += 1) if (out[i] !== '\n') out[i] = ' ';
  };
  /** For each template that is open around here, how many braces are open inside its `${`. */
  const templateBraces: number[] = [];
  let at = 0;
  while (at < source.length) {
    const char = source[at];
    let end = at + 1;
    if (source.startsWith('//', at)) {
      end = lineEnd(source, at);
      hide(at, end);
    } else if (source.startsWith('/*', at)) {
      const close = source.indexOf('*/', at + 2);
      end = close < 0 ? source.length : close + 2;
      hide(at, end);
    } else if (char === "'" || char === '"') {
      end = stringEnd(source, at);
      hide(at + 1, end - 1);
    } else if (char === '/' && regexMayStart(out, at)) {
      end = regexEnd(source, at);
      hide(at + 1, end - 1);
    } else if (char === '`' || (char === '}' && templateBraces.at(-1) === 0)) {
      if (char === '}') templateBraces.pop();
      end = templateTextEnd(source, at);
      const opensExpression = source[end - 1] === '{';
      if (opensExpression) templateBraces.push(0);
      hide(at + 1, end - 1);
    } else if (char === '{' && templateBraces.length > 0) {
      templateBraces[templateBraces.length - 1]! += 1;
    } else if (char === '}' && templateBraces.length > 0) {
      templateBraces[templateBraces.length - 1]! -= 1;
    }
    at = end;
  }
  return out.join('');
}

function lineEnd(source: string, at: number): number {
  const end = source.indexOf('\n', at);
  return end < 0 ? source.length : end;
}

/** One past the closing quote; an unclosed string ends with its line. */
function stringEnd(source: string, at: number): number {
  for (let i = at + 1; i < source.length; i += 1) {
    if (source[i] === '\\') i += 1;
    else if (source[i] === source[at]) return i + 1;
    else if (source[i] === '\n') return i;
  }
  return source.length;
}

/** One past the template's closing backquote, or past the `${` that opens an expression in it. */
function templateTextEnd(source: string, at: number): number {
  for (let i = at + 1; i < source.length; i += 1) {
    if (source[i] === '\\') i += 1;
    else if (source[i] === '`') return i + 1;
    else if (source.startsWith('${', i)) return i + 2;
  }
  return source.length;
}

function regexEnd(source: string, at: number): number {
  let inClass = false;
  for (let i = at + 1; i < source.length; i += 1) {
    const char = source[i];
    if (char === '\\') i += 1;
    else if (char === '[') inClass = true;
    else if (char === ']') inClass = false;
    else if (char === '\n') return i;
    else if (char === '/' && !inClass) return i + 1;
  }
  return source.length;
}

/** Decided by what stands before the slash: a value is divided, anything else is followed by an expression. */
function regexMayStart(out: readonly string[], at: number): boolean {
  let i = at - 1;
  while (i >= 0 && /\s/.test(out[i]!)) i -= 1;
  if (i < 0) return true;
  if (/[)\]}'"`]/.test(out[i]!)) return false;
  if (!/[\w$]/.test(out[i]!)) return true;
  let word = '';
  for (; i >= 0 && /[\w$]/.test(out[i]!); i -= 1) word = out[i]! + word;
  return WORDS_BEFORE_REGEX.has(word);
}
