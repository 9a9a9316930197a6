import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Link } from '../../net/link.ts';
import { ClusterView } from '../../src/client/cluster-view.ts';
import { instanceOf } from '../../src/protocol/instance.ts';
import { MESSAGE_STATE_REQUEST, typeOf } from '../../src/protocol/messages.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import type { StateMessage } from '../../src/protocol/state-message.ts';
import { sendState } from '../../src/protocol/state-message.ts';
import { hash } from '../../workers/signing.ts';
import { seededBytes } from '../workers/random.ts';
import { memberPeer, MessageRecorder, sessionWith } from './fixtures.ts';

const CLUSTER_ID = seededBytes(16, 4);

function incarnation(number: number): string {
  return number.toString(16).padStart(32, '0');
}

/** Incarnations 1, 2, 3 of three members; a second instance has 11, 12, 13. */
const FIRST = [1, 2, 3].map(incarnation);
const SECOND = [11, 12, 13].map(incarnation);
const FIRST_ID = instanceOf(CLUSTER_ID, FIRST, hash).id;

class ViewHarness {
  readonly messenger = new MessageRecorder();
  readonly links: Link<Peer>[];
  readonly view: ClusterView;
  nowMs = 0;

  constructor(pinnedInstance?: string, agreeingCount = 2) {
    this.links = FIRST.map((_, member) => new Link<Peer>('10.0.0.1', 7_000 + member, new Uint8Array(32)));
    this.view = new ClusterView({
      clusterId: CLUSTER_ID,
      links: this.links,
      messenger: this.messenger,
      hash,
      pinnedInstance,
      agreeingCount,
    });
  }

  /** A session with a member whose handshake proved this incarnation. */
  connect(member: number, of: readonly string[] = FIRST) {
    const session = sessionWith(memberPeer(member, of[member]!), true);
    this.links[member]!.session = session;
    this.view.onSessionLive(session);
    return session;
  }

  say(member: number, message: Partial<StateMessage> = {}, session = this.links[member]!.session!): void {
    const recorder = new MessageRecorder();
    sendState(recorder, session, {
      state: 'active',
      memberIndex: member,
      epoch: 1,
      incarnation: session.peer.incarnation!,
      incarnations: FIRST,
      goneMask: 0,
      ...message,
    });
    this.view.onState(session, recorder.take()[0]!.control, 0);
  }

  /** Members of the first instance, connected and active. */
  static ready(pinned?: string): ViewHarness {
    const harness = new ViewHarness(pinned);
    for (const member of [0, 1, 2]) {
      harness.connect(member);
      harness.say(member);
    }
    return harness;
  }
}

test('should count members once a quorum of them is active in one instance, and pin it', () => {
  const harness = new ViewHarness();
  const { view } = harness;
  harness.connect(0);
  harness.connect(1);
  harness.connect(2);
  harness.say(0);
  assert.deepEqual([view.readyMask, view.instance], [0, undefined], 'one alone proves nothing');
  harness.say(2);
  assert.deepEqual([view.readyMask, view.instance, view.epoch], [0b101, FIRST_ID, 1]);
  harness.say(1);
  assert.equal(view.readyMask, 0b111);
});

test('should not count members that are forming or outside', () => {
  const harness = ViewHarness.ready();
  harness.say(1, { state: 'outside', incarnations: [] });
  assert.equal(harness.view.readyMask, 0b101);
  harness.say(1, { state: 'forming' });
  assert.equal(harness.view.readyMask, 0b101);
});

test('should not believe a STATE about another incarnation or member than its session proved', () => {
  const harness = new ViewHarness();
  for (const member of [0, 1, 2]) harness.connect(member);
  harness.say(0, { incarnation: incarnation(77), incarnations: [incarnation(77), ...FIRST.slice(1)] });
  harness.say(1, { memberIndex: 0, incarnation: FIRST[0]! });
  harness.say(2, { incarnations: [FIRST[0]!, FIRST[1]!, incarnation(77)] });
  assert.deepEqual([harness.view.readyMask, harness.view.instance], [0, undefined]);
});

test('should not pin an instance of incarnations that no session proved', () => {
  const harness = new ViewHarness();
  for (const member of [0, 1, 2]) harness.connect(member);
  for (const member of [0, 1, 2]) harness.say(member, { incarnation: SECOND[member]!, incarnations: SECOND });
  assert.equal(harness.view.instance, undefined);
});

test('should not count members that name different sets, whatever their number', () => {
  const harness = new ViewHarness();
  for (const member of [0, 1, 2]) harness.connect(member);
  harness.say(0, { incarnations: [FIRST[0]!, FIRST[1]!, incarnation(9)] });
  harness.say(1, { incarnations: [FIRST[0]!, FIRST[1]!, incarnation(8)] });
  harness.say(2, { incarnations: [incarnation(7), FIRST[1]!, FIRST[2]!] });
  assert.equal(harness.view.instance, undefined);
  harness.say(0, { incarnations: FIRST.slice(0, 2) });
  harness.say(1, { incarnations: FIRST.slice(0, 2) });
  assert.equal(harness.view.instance, undefined, 'a set of another size is of another configuration');
});

test('should stop to count a member that comes back as another process, and never take its new word for the old', () => {
  const harness = ViewHarness.ready();
  const oldSession = harness.links[1]!.session!;
  harness.connect(1, SECOND);
  assert.equal(harness.view.readyMask, 0b101);
  harness.say(1, { state: 'outside', incarnations: [] });
  assert.equal(harness.view.readyMask, 0b101);
  // A late word of the dead process, on its own session.
  harness.say(1, {}, oldSession);
  assert.equal(harness.view.readyMask, 0b101);
});

test('should refuse a cluster that was started anew: the instance stays pinned', () => {
  const harness = ViewHarness.ready();
  assert.equal(harness.view.isForeign, false);
  for (const member of [0, 1, 2]) {
    harness.connect(member, SECOND);
    harness.say(member, { incarnations: SECOND });
  }
  assert.deepEqual([harness.view.readyMask, harness.view.instance], [0, FIRST_ID]);
  assert.equal(harness.view.isForeign, true);
});

test('should take only the instance that its caller has pinned', () => {
  const harness = ViewHarness.ready(instanceOf(CLUSTER_ID, SECOND, hash).id);
  assert.equal(harness.view.readyMask, 0);
  assert.equal(harness.view.isForeign, true);
  const same = ViewHarness.ready(FIRST_ID);
  assert.equal(same.view.readyMask, 0b111);
});

test('should follow a quorum to a higher epoch, and ignore words of a lower one', () => {
  const harness = ViewHarness.ready();
  const { view } = harness;
  harness.say(0, { epoch: 2 });
  assert.deepEqual([view.epoch, view.readyMask], [1, 0b110], 'one alone does not move it');
  harness.say(1, { epoch: 2 });
  assert.deepEqual([view.epoch, view.readyMask], [2, 0b011]);
  harness.say(0, { epoch: 1 });
  harness.say(2, { epoch: 1 });
  assert.deepEqual([view.epoch, view.readyMask], [2, 0b011]);
  harness.say(2, { epoch: 2 });
  assert.equal(view.readyMask, 0b111);
});

test('should stop to count a member whose session has ended', () => {
  const harness = ViewHarness.ready();
  harness.links[2]!.session = undefined;
  harness.view.tick(10_000);
  assert.equal(harness.view.readyMask, 0b011);
});

test('should ask a member for its state when a session comes about, and those that are not ready now and then', () => {
  const harness = new ViewHarness();
  harness.connect(0);
  const asked = () =>
    harness.messenger.take().map(({ control, session }) => [typeOf(control, 0), session.peer.identity.memberIndex]);
  assert.deepEqual(asked(), [[MESSAGE_STATE_REQUEST, 0]]);
  harness.view.tick(1_000);
  assert.deepEqual(asked(), [[MESSAGE_STATE_REQUEST, 0]]);
  harness.view.tick(1_001);
  assert.deepEqual(asked(), []);
  harness.connect(1);
  harness.say(0);
  harness.say(1);
  asked();
  harness.view.tick(2_000);
  assert.deepEqual(asked(), []);
});

test('should not count a member of a later version, whose state it cannot read', () => {
  const harness = ViewHarness.ready();
  const recorder = new MessageRecorder();
  const session = harness.links[0]!.session!;
  sendState(recorder, session, {
    state: 'outside',
    memberIndex: 0,
    epoch: 1,
    incarnation: FIRST[0]!,
    incarnations: [],
    goneMask: 0,
  });
  const { control } = recorder.take()[0]!;
  control[2]! |= 0xff;
  harness.view.onState(session, control, 0);
  assert.equal(harness.view.readyMask, 0b111, 'it says nothing, so what it said before stands');
});
