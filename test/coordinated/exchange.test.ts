/**
 * Clients and replicas of the coordinated route joined by a network that loses, doubles and reorders, whose sessions are
 * renewed and whose replicas crash: what clients are told of a write is what was done.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DropCounters } from '../../net/drops.ts';
import { Link } from '../../net/link.ts';
import type { Session } from '../../net/session.ts';
import { CallClient } from '../../src/coordinated/call-client.ts';
import { setTo } from '../../src/client/read-modify-write.ts';
import { CallServer } from '../../src/coordinated/call-server.ts';
import { MESSAGE_CALL, MESSAGE_CALL_OPEN } from '../../src/protocol/call-messages.ts';
import { MESSAGE_CALL_PART, MESSAGE_CALL_PULL } from '../../src/protocol/call-part-messages.ts';
import { typeOf } from '../../src/protocol/messages.ts';
import type { OperationSink, Outcome } from '../../src/protocol/outcome.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { HostMemory } from '../../src/store/host-memory.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { Random } from '../../bench/random.ts';
import { bytesOf, clientPeer, incomingOf, memberPeer, MessageRecorder, sessionWith } from '../protocol/fixtures.ts';
import type { Message, SentMessage } from '../protocol/fixtures.ts';
import { ScriptedCoordinator } from './call-fixtures.ts';
import type { Operation } from './call-fixtures.ts';

const REPLICAS = 3;
const CLIENTS = 2;
/** Both clients use the same slots and generations, over and over. */
const CAPACITY = 2;
const DEADLINE_MS = 400;
const STEPS = 5_000;
const STEP_MS = 2;
const LARGE_BYTES = 60_000;
/** A read-modify-write and what it found fit into it. */
const SMALL_BYTES = 128;

/** A write, what its client was told, and how often it was carried out, and where. */
interface Write {
  outcome: Outcome | undefined;
  done: number;
  begun: number;
  /** Of a read-modify-write: the counter of the version that it ended with. */
  counter?: number;
}

class World {
  readonly random: Random;
  nowMs = 1_000;
  readonly writes = new Map<string, Write>();
  readonly replicas: Replica[] = [];
  readonly clients: Client[] = [];
  readonly #underWay: { atMs: number; to: Session<Peer>; message: Message }[] = [];
  /** The other end of each session, and whose it is. */
  readonly ends = new Map<Session<Peer>, { readonly other: Session<Peer>; readonly owner: Client | Replica }>();
  isCalm = false;
  lastCounter = 0;

  /** Of a message: what is larger goes by parts. */
  readonly bytesMax: number;

  constructor(seed: number, bytesMax: number) {
    this.random = new Random(seed);
    this.bytesMax = bytesMax;
    for (let index = 0; index < REPLICAS; index++) this.replicas.push(new Replica(this, index));
    for (let index = 0; index < CLIENTS; index++) this.clients.push(new Client(this, index));
  }

  /** Puts and gets have values that are larger than a message, when messages are small. */
  valueOf(name: string): string {
    return name.padEnd(this.bytesMax === SMALL_BYTES ? 4 * SMALL_BYTES : 0, '.');
  }

  chance(probability: number): boolean {
    return !this.isCalm && this.random.nextDouble() < probability;
  }

  below(count: number): number {
    return Math.floor(this.random.nextDouble() * count);
  }

  send(sent: readonly SentMessage[]): void {
    for (const { session, control } of sent) {
      const end = this.ends.get(session);
      if (end === undefined || this.chance(0.15)) continue;
      for (let copies = this.chance(0.15) ? 2 : 1; copies > 0; copies--) {
        const delayMs = this.chance(0.05) ? this.below(600) : this.below(12);
        this.#underWay.push({
          atMs: this.nowMs + delayMs,
          to: end.other,
          message: { control: Int32Array.from(control), value: new Uint8Array(0) },
        });
      }
    }
  }

  step(): void {
    this.nowMs += STEP_MS;
    const due = this.#underWay.filter(({ atMs }) => atMs <= this.nowMs);
    for (const arrival of due) this.#underWay.splice(this.#underWay.indexOf(arrival), 1);
    for (const { to, message } of due) this.ends.get(to)?.owner.receive(to, message);
    for (const replica of this.replicas) replica.step();
    for (const client of this.clients) client.step();
  }

  join(client: Client, replica: Replica): void {
    const ofClient = sessionWith(memberPeer(replica.index, replica.incarnation), true);
    const ofReplica = Object.assign(sessionWith(client.peer), { createdMs: this.nowMs });
    this.ends.set(ofClient, { other: ofReplica, owner: client });
    this.ends.set(ofReplica, { other: ofClient, owner: replica });
    client.links[replica.index]!.session = ofClient;
    client.core.onSessionLive(ofClient);
  }
}

class Replica {
  readonly index: number;
  incarnation = '';
  #starts = 0;
  #server!: CallServer;
  #coordinator!: ScriptedCoordinator;
  #messenger = new MessageRecorder();
  readonly #world: World;

  constructor(world: World, index: number) {
    this.#world = world;
    this.index = index;
    this.#start();
  }

  #start(): void {
    this.incarnation = `${this.index}.${++this.#starts}`;
    const coordinator = new ScriptedCoordinator(3);
    this.#coordinator = coordinator;
    this.#messenger = new MessageRecorder();
    this.#messenger.bytesMax = this.#world.bytesMax;
    this.#server = new CallServer({
      messenger: this.#messenger,
      drops: new DropCounters(),
      budget: new TrustedBudget(),
      coordinator: () => coordinator,
    });
    coordinator.sink = this.#server;
  }

  /** Its memory is gone, and with it whoever it talked to. */
  crash(): void {
    for (const operation of this.#coordinator.running.values()) this.#maybeDone(operation);
    this.#start();
    const { ends } = this.#world;
    for (const [session, { owner, other }] of ends) {
      if (owner !== this) continue;
      ends.delete(session);
      ends.delete(other);
    }
    for (const client of this.#world.clients) this.#world.join(client, this);
  }

  receive(session: Session<Peer>, message: Message): void {
    const incoming = incomingOf(session, [message]);
    const { nowMs } = this.#world;
    const { word } = incoming;
    const before = this.#coordinator.started.length;
    switch (typeOf(message.control, 0)) {
      case MESSAGE_CALL_OPEN:
        this.#server.onOpen(incoming, word, nowMs);
        break;
      case MESSAGE_CALL_PART:
        this.#server.onPart(incoming, word, nowMs);
        break;
      case MESSAGE_CALL_PULL:
        this.#server.onPull(incoming, word, nowMs);
        break;
      default:
        assert.equal(typeOf(message.control, 0), MESSAGE_CALL);
        this.#server.onCall(incoming, word, nowMs);
    }
    const operation = this.#coordinator.started[before];
    if (operation !== undefined && operation.kind !== 'get') this.#writeOf(operation).begun++;
    for (const cancelled of this.#coordinator.cancelled.splice(0)) this.#maybeDone(cancelled);
    this.#server.invariants();
  }

  /** The whole value has come, whatever became of its parts. */
  #writeOf({ kind, value }: Operation): Write {
    const name = value.replace(/\.+$/, '');
    assert.equal(value, kind === 'put' ? this.#world.valueOf(name) : name);
    return this.#world.writes.get(name)!;
  }

  step(): void {
    this.#server.begin(this.#world.nowMs);
    this.#server.tick(this.#world.nowMs);
    for (const operation of this.#coordinator.running.values()) {
      if (this.#world.random.nextDouble() > 0.2) continue;
      this.#end(operation);
    }
    this.#world.send(this.#messenger.take());
  }

  #end(operation: Operation): void {
    const world = this.#world;
    if (operation.kind === 'get')
      return this.#coordinator.end(operation, 'ok', world.valueOf(`value of ${operation.key}`));
    if (world.chance(0.1)) return this.#coordinator.end(operation, 'deadline');
    if (world.chance(0.1)) {
      this.#maybeDone(operation);
      return this.#coordinator.end(operation, 'outcome-unknown');
    }
    this.#writeOf(operation).done++;
    if (operation.kind === 'put') return this.#coordinator.end(operation, 'ok');
    // What it found is of this one execution: no other answer may be told.
    const counter = ++world.lastCounter;
    this.#writeOf(operation).counter = counter;
    const version = { counter, writerHigh: 0, writerLow: this.index, rmw: 1 };
    this.#coordinator.end(operation, world.chance(0.3) ? 'mismatch' : 'ok', `found at ${counter}`, version);
  }

  /** Nobody hears of it, so it may have taken effect. */
  #maybeDone(operation: Operation): void {
    if (operation.kind !== 'get' && this.#world.chance(0.5)) this.#writeOf(operation).done++;
  }
}

class Client implements OperationSink {
  readonly index: number;
  readonly peer: Peer;
  readonly links: Link<Peer>[];
  readonly core: CallClient;
  readonly #world: World;
  readonly #messenger = new MessageRecorder();
  readonly #tokens: { kind: 'get' | 'put' | 'rmw'; name: string; endMs: number }[] = [];
  endedCount = 0;

  constructor(world: World, index: number) {
    this.#world = world;
    this.#messenger.bytesMax = world.bytesMax;
    this.index = index;
    this.peer = clientPeer({ writerHigh: 0, writerLow: index + 1 });
    this.links = world.replicas.map((_, member) => new Link<Peer>('h', member, new Uint8Array(32)));
    this.core = new CallClient({
      capacity: CAPACITY,
      links: this.links,
      firstChoice: index,
      activeMask: () => (1 << REPLICAS) - 1,
      memory: new HostMemory({ budget: TrustedBudget.unbounded(), hostBytesMax: 2 ** 26 }),
      pullBytesMax: 100_000,
      messenger: this.#messenger,
      drops: new DropCounters(),
      sink: this,
      onOtherMessage: () => assert.fail('nothing else is sent'),
    });
    for (const replica of world.replicas) world.join(this, replica);
  }

  receive(session: Session<Peer>, message: Message): void {
    this.core.onMessages(incomingOf(session, [message]), this.#world.nowMs);
    this.core.invariants();
  }

  step(): void {
    const world = this.#world;
    if (!world.isCalm) this.#startMore();
    this.core.tick(world.nowMs);
    this.core.invariants();
    world.send(this.#messenger.take());
  }

  #startMore(): void {
    const world = this.#world;
    while (this.core.active < CAPACITY) {
      const token = this.#tokens.length;
      const name = `${this.index}/${token}`;
      const kind = world.chance(0.3) ? 'get' : world.chance(0.5) ? 'put' : 'rmw';
      this.#tokens.push({ kind, name, endMs: world.nowMs + DEADLINE_MS });
      if (kind === 'get') this.core.startGet(token, bytesOf(name), DEADLINE_MS, world.nowMs);
      else {
        world.writes.set(name, { outcome: undefined, done: 0, begun: 0 });
        const [key, value] = [bytesOf('key'), bytesOf(kind === 'put' ? world.valueOf(name) : name)];
        const id =
          kind === 'put'
            ? this.core.startPut(token, key, value, DEADLINE_MS, world.nowMs)
            : this.core.startRmw(token, key, setTo(value), DEADLINE_MS, world.nowMs);
        if (world.chance(0.02)) this.core.cancel(id);
      }
    }
  }

  onOperationEnded(token: number, outcome: Outcome, value: Uint8Array, valueBytes: number): void {
    this.endedCount++;
    const world = this.#world;
    const { kind, name, endMs } = this.#tokens[token]!;
    assert.ok(world.nowMs <= endMs + 2 * STEP_MS, 'it ends by its deadline');
    if (kind === 'get') {
      if (outcome === 'ok')
        assert.equal(Buffer.from(value.subarray(0, valueBytes)).toString(), world.valueOf(`value of ${name}`));
      else assert.equal(outcome, 'deadline');
      return;
    }
    const write = world.writes.get(name)!;
    assert.equal(write.outcome, undefined, 'it ends once');
    write.outcome = outcome;
    if (outcome === 'ok' || outcome === 'mismatch') assert.equal(write.done, 1, 'what is acknowledged was done');
    if (kind === 'put' || (outcome !== 'ok' && outcome !== 'mismatch')) return;
    assert.equal(this.core.ended.counter, write.counter);
    assert.equal(Buffer.from(value.subarray(0, valueBytes)).toString(), `found at ${write.counter}`);
  }
}

for (const [seed, bytesMax] of Array.from(
  { length: 20 },
  (_, i) => [i + 1, i < 12 ? LARGE_BYTES : SMALL_BYTES] as const,
)) {
  test(`should carry out each write once at most, and tell the truth about it (seed ${seed}, ${bytesMax} bytes)`, () => {
    const world = new World(seed, bytesMax);
    let ok = 0;
    let unknown = 0;
    for (let step = 0; step < STEPS; step++) {
      world.step();
      if (world.chance(0.02)) world.join(world.clients[world.below(CLIENTS)]!, world.replicas[world.below(REPLICAS)]!);
      if (world.chance(0.004)) world.replicas[world.below(REPLICAS)]!.crash();
    }
    world.isCalm = true;
    for (let step = 0; step < (2 * DEADLINE_MS) / STEP_MS; step++) world.step();
    for (const [name, { outcome, done, begun }] of world.writes) {
      assert.ok(done <= 1, `${name} was done ${done} times`);
      assert.notEqual(outcome, undefined, `${name} has ended`);
      if (outcome === 'ok' || outcome === 'mismatch') ok++;
      else if (outcome === 'outcome-unknown') unknown++;
      else {
        assert.ok(outcome === 'deadline' || outcome === 'aborted', `${name} ended ${outcome}`);
        assert.equal(done, 0, `${name} had no effect, its client was told`);
      }
      // A replica that gave up without effect lets it be begun anew; at the same time it never is under way twice.
      if (outcome === 'ok') assert.ok(begun >= 1);
    }
    assert.ok(ok > 100 && unknown > 3, `${ok} ok, ${unknown} unknown`);
    for (const client of world.clients) assert.ok(client.endedCount > 100);
  });
}
