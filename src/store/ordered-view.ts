import { assert } from '../../net/assert.ts';
import type { EntryArena } from './entry-arena.ts';
import { commonBytes, compareKeys, compareKeyStarts, headOf } from './key-order.ts';
import type { TrustedBudget } from './trusted-budget.ts';
import { TYPED_ARRAY_OVERHEAD_BYTES } from './trusted-budget.ts';

/**
 * The keys in order, beside the hash index: a B+-tree of entry ids (Bayer and McCreight 1972; Comer, "The Ubiquitous
 * B-Tree", 1979). Entries are never removed and keys never change, so it knows one change only: a new key.
 *
 * A node has for each of its entries the id and four bytes of the key, taken where the keys of the node begin to differ
 * (Bayer and Unterauer, "Prefix B-Trees", 1977; Graefe and Larson, "B-Tree Indexes and CPU Caches", 2001: poor man's
 * normalized keys). A search compares those, and looks at whole keys, which lie elsewhere, once or twice a node instead
 * of six times.
 *
 *     word 0  entries u16 | level u16 (0: leaf)
 *     word 1  bytes that all keys of the node begin with
 *     word 2  next leaf, word 3 the one before
 *     leaf:       heads of 62 keys, 62 entry ids
 *     inner node: heads of 41 keys, 41 entry ids, 41 children; each key is the first below its child
 */
const NODE_WORDS = 128;
const NODE_COUNT = 0;
const NODE_SHARED_BYTES = 1;
const NODE_NEXT = 2;
const NODE_PREVIOUS = 3;
const NODE_HEADS = 4;
const LEAF_CAPACITY = 62;
const LEAF_IDS = NODE_HEADS + LEAF_CAPACITY;
const INNER_CAPACITY = 41;
const INNER_IDS = NODE_HEADS + INNER_CAPACITY;
const INNER_CHILDREN = INNER_IDS + INNER_CAPACITY;
assert(LEAF_IDS + LEAF_CAPACITY <= NODE_WORDS && INNER_CHILDREN + INNER_CAPACITY <= NODE_WORDS, 'a node has its room');

const CHUNK_NODE_BITS = 7;
const CHUNK_NODES = 1 << CHUNK_NODE_BITS;
/** 64 KiB, as chunks of entries have: see entry-arena.ts. */
const CHUNK_WORDS = CHUNK_NODES * NODE_WORDS;
const CHUNK_BYTES = CHUNK_WORDS * 4 + TYPED_ARRAY_OVERHEAD_BYTES;
/** Inner nodes are at least half full, but for the last of a level: 2^31 entries have eight levels at the most. */
const LEVELS_MAX = 10;

const NO_NODE = -1;
/** Of an entry among all in order: node and place in it. Good until the next key is added. */
export const NO_POSITION = -1;
const PLACE_BITS = 6;
const PLACE_MASK = (1 << PLACE_BITS) - 1;

const ACCOUNT = 'ordered view';

export class OrderedView {
  private readonly budget: TrustedBudget;
  private readonly entries: EntryArena;
  private readonly chunks: Int32Array[] = [];
  private nodeCount = 0;
  private root: number;
  private firstLeaf: number;
  private lastLeaf: number;
  /** Levels of the tree; the root's is one less. */
  private levelCount = 1;
  private entryCount = 0;
  /** The way down to the leaf of the key that is being added, by level. */
  private readonly pathNodes = new Int32Array(LEVELS_MAX);
  private readonly pathPlaces = new Int32Array(LEVELS_MAX);

  /** The budget must have trustedBytesAtStart. */
  constructor(budget: TrustedBudget, entries: EntryArena) {
    this.budget = budget;
    this.entries = entries;
    this.addChunk();
    this.root = this.firstLeaf = this.lastLeaf = this.newNode(0);
  }

  static readonly trustedBytesAtStart = CHUNK_BYTES;

  get count(): number {
    return this.entryCount;
  }

  /** Trusted bytes that add() will reserve for a key at most. */
  trustedBytesToAdd(): number {
    return this.hasNodes() ? 0 : CHUNK_BYTES;
  }

  /** Takes in the entry of a new key. The budget must have trustedBytesToAdd(). */
  add(entry: number): void {
    if (!this.hasNodes()) this.addChunk();
    const words = this.entries.words(entry);
    const keyWord = this.entries.keyWordOffset(entry);
    const keyBytes = this.entries.keyBytes(entry);
    let node = this.root;
    for (let level = this.levelCount - 1; level > 0; level--) {
      const place = this.rank(node, words, keyWord, keyBytes, true) - 1;
      // Before all that is there: it becomes the first key of each node on its way.
      if (place < 0) this.replaceFirst(node, entry);
      this.pathNodes[level] = node;
      this.pathPlaces[level] = Math.max(place, 0);
      node = this.nodeWords(node)[wordOf(node) + INNER_CHILDREN + Math.max(place, 0)]!;
    }
    this.insert(node, 0, this.rank(node, words, keyWord, keyBytes, false), entry, NO_NODE);
    this.entryCount++;
  }

  // -- reading ------------------------------------------------------------------------------------------------------

  first(): number {
    return this.entryCount === 0 ? NO_POSITION : positionOf(this.firstLeaf, 0);
  }

  last(): number {
    return this.entryCount === 0 ? NO_POSITION : positionOf(this.lastLeaf, this.countOf(this.lastLeaf) - 1);
  }

  /** The first key that is not before the given one; NO_POSITION when all are. */
  seek(keyWords: Int32Array, keyWord: number, keyBytes: number): number {
    let node = this.root;
    for (let level = this.levelCount - 1; level > 0; level--) {
      const place = Math.max(this.rank(node, keyWords, keyWord, keyBytes, true) - 1, 0);
      node = this.nodeWords(node)[wordOf(node) + INNER_CHILDREN + place]!;
    }
    const place = this.rank(node, keyWords, keyWord, keyBytes, false);
    return place < this.countOf(node) ? positionOf(node, place) : this.startOf(this.linkOf(node, NODE_NEXT));
  }

  next(position: number): number {
    const node = position >>> PLACE_BITS;
    if ((position & PLACE_MASK) + 1 < this.countOf(node)) return position + 1;
    return this.startOf(this.linkOf(node, NODE_NEXT));
  }

  previous(position: number): number {
    if ((position & PLACE_MASK) > 0) return position - 1;
    const before = this.linkOf(position >>> PLACE_BITS, NODE_PREVIOUS);
    return before === NO_NODE ? NO_POSITION : positionOf(before, this.countOf(before) - 1);
  }

  entryAt(position: number): number {
    const node = position >>> PLACE_BITS;
    return this.nodeWords(node)[wordOf(node) + LEAF_IDS + (position & PLACE_MASK)]!;
  }

  private startOf(node: number): number {
    return node === NO_NODE ? NO_POSITION : positionOf(node, 0);
  }

  /** Entries of a node whose keys are before the given one (or the same). */
  private rank(node: number, keyWords: Int32Array, keyWord: number, keyBytes: number, orSame: boolean): number {
    const words = this.nodeWords(node);
    const word = wordOf(node);
    const count = words[word + NODE_COUNT]! & 0xffff;
    if (count === 0) return 0;
    const ids = word + (words[word + NODE_COUNT]! >>> 16 === 0 ? LEAF_IDS : INNER_IDS);
    const sharedBytes = words[word + NODE_SHARED_BYTES]!;
    if (sharedBytes > 0) {
      const first = words[ids]!;
      const firstWords = this.entries.words(first);
      const firstWord = this.entries.keyWordOffset(first);
      const order = compareKeyStarts(keyWords, keyWord, keyBytes, firstWords, firstWord, sharedBytes);
      if (order !== 0) return order < 0 ? 0 : count;
    }
    const head = headOf(keyWords, keyWord, keyBytes, sharedBytes);
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = words[word + NODE_HEADS + middle]!;
      let isBefore = other < head;
      if (other === head) {
        const order = this.compareEntry(words[ids + middle]!, keyWords, keyWord, keyBytes);
        isBefore = order < 0 || (order === 0 && orSame);
      }
      if (isBefore) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private compareEntry(entry: number, keyWords: Int32Array, keyWord: number, keyBytes: number): number {
    const { entries } = this;
    const own = entries.words(entry);
    return compareKeys(own, entries.keyWordOffset(entry), entries.keyBytes(entry), keyWords, keyWord, keyBytes);
  }

  // -- growing ------------------------------------------------------------------------------------------------------

  /** @param child Of an inner node; NO_NODE in a leaf. */
  private insert(node: number, level: number, place: number, entry: number, child: number): void {
    const capacity = level === 0 ? LEAF_CAPACITY : INNER_CAPACITY;
    const count = this.countOf(node);
    if (count < capacity) return this.insertInto(node, level, place, entry, child);
    const right = this.newNode(level);
    if (level === 0) this.linkBehind(node, right);
    // Keys that come in order fill their nodes: behind the last one nothing is moved.
    const isBehindAll = place === count && this.linkOf(right, NODE_NEXT) === NO_NODE;
    const kept = isBehindAll ? count : count >> 1;
    this.moveTail(node, right, level, kept);
    if (place <= kept && !isBehindAll) this.insertInto(node, level, place, entry, child);
    else this.insertInto(right, level, place - kept, entry, child);
    this.addToParent(node, right, level);
  }

  private addToParent(node: number, right: number, level: number): void {
    const above = level + 1;
    if (above === this.levelCount) {
      assert(above < LEVELS_MAX, 'the tree is never so high');
      this.root = this.newNode(above);
      this.levelCount++;
      this.insertInto(this.root, above, 0, this.firstEntryOf(node, level), node);
      this.insertInto(this.root, above, 1, this.firstEntryOf(right, level), right);
      return;
    }
    this.insert(this.pathNodes[above]!, above, this.pathPlaces[above]! + 1, this.firstEntryOf(right, level), right);
  }

  private insertInto(node: number, level: number, place: number, entry: number, child: number): void {
    const words = this.nodeWords(node);
    const word = wordOf(node);
    const count = this.countOf(node);
    const ids = word + idsOf(level);
    const heads = word + NODE_HEADS;
    words.copyWithin(ids + place + 1, ids + place, ids + count);
    words.copyWithin(heads + place + 1, heads + place, heads + count);
    words[ids + place] = entry;
    if (level > 0) {
      const children = word + INNER_CHILDREN;
      words.copyWithin(children + place + 1, children + place, children + count);
      words[children + place] = child;
    }
    words[word + NODE_COUNT] = (count + 1) | (level << 16);
    // Between two keys it shares what they share.
    const isAtEnd = place === 0 || place === count;
    if (isAtEnd && this.sharedBytesOf(node, level) !== words[word + NODE_SHARED_BYTES]) this.renewHeads(node, level);
    else words[heads + place] = this.headOfEntry(entry, words[word + NODE_SHARED_BYTES]!);
  }

  private moveTail(node: number, right: number, level: number, kept: number): void {
    const moved = this.countOf(node) - kept;
    if (moved === 0) return;
    const from = this.nodeWords(node);
    const to = this.nodeWords(right);
    const fromWord = wordOf(node);
    const toWord = wordOf(right);
    for (let i = 0; i < moved; i++) {
      to[toWord + NODE_HEADS + i] = from[fromWord + NODE_HEADS + kept + i]!;
      to[toWord + idsOf(level) + i] = from[fromWord + idsOf(level) + kept + i]!;
      if (level > 0) to[toWord + INNER_CHILDREN + i] = from[fromWord + INNER_CHILDREN + kept + i]!;
    }
    from[fromWord + NODE_COUNT] = kept | (level << 16);
    to[toWord + NODE_COUNT] = moved | (level << 16);
    to[toWord + NODE_SHARED_BYTES] = from[fromWord + NODE_SHARED_BYTES]!;
    this.renewIfNeeded(node, level);
    this.renewIfNeeded(right, level);
  }

  /** Heads are mostly right: looking at two keys saves looking at all. */
  private renewIfNeeded(node: number, level: number): void {
    const words = this.nodeWords(node);
    if (this.sharedBytesOf(node, level) !== words[wordOf(node) + NODE_SHARED_BYTES]) this.renewHeads(node, level);
  }

  private replaceFirst(node: number, entry: number): void {
    const words = this.nodeWords(node);
    const word = wordOf(node);
    const level = words[word + NODE_COUNT]! >>> 16;
    words[word + idsOf(level)] = entry;
    this.renewHeads(node, level);
  }

  private renewHeads(node: number, level: number): void {
    const words = this.nodeWords(node);
    const word = wordOf(node);
    const count = this.countOf(node);
    const sharedBytes = this.sharedBytesOf(node, level);
    words[word + NODE_SHARED_BYTES] = sharedBytes;
    for (let i = 0; i < count; i++) {
      words[word + NODE_HEADS + i] = this.headOfEntry(words[word + idsOf(level) + i]!, sharedBytes);
    }
  }

  /** As keys are in order, what the first shares with the last it shares with all. */
  private sharedBytesOf(node: number, level: number): number {
    const words = this.nodeWords(node);
    const ids = wordOf(node) + idsOf(level);
    const { entries } = this;
    const first = words[ids]!;
    const last = words[ids + this.countOf(node) - 1]!;
    return commonBytes(
      entries.words(first),
      entries.keyWordOffset(first),
      entries.keyBytes(first),
      entries.words(last),
      entries.keyWordOffset(last),
      entries.keyBytes(last),
    );
  }

  private headOfEntry(entry: number, byteOffset: number): number {
    const { entries } = this;
    return headOf(entries.words(entry), entries.keyWordOffset(entry), entries.keyBytes(entry), byteOffset);
  }

  private linkBehind(leaf: number, added: number): void {
    const next = this.linkOf(leaf, NODE_NEXT);
    const words = this.nodeWords(added);
    words[wordOf(added) + NODE_NEXT] = next;
    words[wordOf(added) + NODE_PREVIOUS] = leaf;
    this.nodeWords(leaf)[wordOf(leaf) + NODE_NEXT] = added;
    if (next === NO_NODE) this.lastLeaf = added;
    else this.nodeWords(next)[wordOf(next) + NODE_PREVIOUS] = added;
  }

  // -- nodes --------------------------------------------------------------------------------------------------------

  /** Each level may split, and a root come on top. */
  private hasNodes(): boolean {
    return this.chunks.length * CHUNK_NODES - this.nodeCount > this.levelCount;
  }

  private addChunk(): void {
    assert(this.budget.tryReserve(ACCOUNT, CHUNK_BYTES), 'there is room');
    this.chunks.push(new Int32Array(CHUNK_WORDS));
  }

  private newNode(level: number): number {
    const node = this.nodeCount++;
    const words = this.nodeWords(node);
    words[wordOf(node) + NODE_COUNT] = level << 16;
    words[wordOf(node) + NODE_NEXT] = NO_NODE;
    words[wordOf(node) + NODE_PREVIOUS] = NO_NODE;
    return node;
  }

  private nodeWords(node: number): Int32Array {
    return this.chunks[node >>> CHUNK_NODE_BITS]!;
  }

  private countOf(node: number): number {
    return this.nodeWords(node)[wordOf(node) + NODE_COUNT]! & 0xffff;
  }

  private linkOf(node: number, link: number): number {
    return this.nodeWords(node)[wordOf(node) + link]!;
  }

  private firstEntryOf(node: number, level: number): number {
    return this.nodeWords(node)[wordOf(node) + idsOf(level)]!;
  }

  invariants(): void {
    const reserved = this.budget.byAccount().get(ACCOUNT) ?? 0;
    assert(reserved === this.chunks.length * CHUNK_BYTES, 'the ordered view is paid for, and nothing else');
    let counted = 0;
    let before = NO_POSITION;
    for (let position = this.first(); position !== NO_POSITION; position = this.next(position)) {
      const entry = this.entryAt(position);
      if (before !== NO_POSITION) {
        assert(this.orderOf(this.entryAt(before), entry) < 0, 'keys are in order, each once');
        assert(this.previous(position) === before, 'both ways pass the same entries');
      }
      before = position;
      counted++;
    }
    assert(counted === this.entryCount && before === this.last(), 'leaves hold all entries');
    this.checkNode(this.root, this.levelCount - 1);
  }

  private orderOf(entryA: number, entryB: number): number {
    const { entries } = this;
    return this.compareEntry(entryA, entries.words(entryB), entries.keyWordOffset(entryB), entries.keyBytes(entryB));
  }

  private checkNode(node: number, level: number): void {
    const words = this.nodeWords(node);
    const word = wordOf(node);
    const count = this.countOf(node);
    assert(words[word + NODE_COUNT]! >>> 16 === level, 'all leaves are on one level');
    if (count === 0) return assert(this.entryCount === 0, 'only the first leaf is ever empty');
    const sharedBytes = this.sharedBytesOf(node, level);
    assert(words[word + NODE_SHARED_BYTES] === sharedBytes, 'a node knows what its keys share');
    for (let i = 0; i < count; i++) {
      const entry = words[word + idsOf(level) + i]!;
      assert(words[word + NODE_HEADS + i] === this.headOfEntry(entry, sharedBytes), 'heads are those of the keys');
      if (level === 0) continue;
      const child = words[word + INNER_CHILDREN + i]!;
      assert(this.firstEntryOf(child, level - 1) === entry, 'a key of an inner node is the first below its child');
      this.checkNode(child, level - 1);
    }
  }
}

function wordOf(node: number): number {
  return (node & (CHUNK_NODES - 1)) * NODE_WORDS;
}

function idsOf(level: number): number {
  return level === 0 ? LEAF_IDS : INNER_IDS;
}

function positionOf(node: number, place: number): number {
  return (node << PLACE_BITS) | place;
}
