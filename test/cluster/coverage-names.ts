/** What a simulation counts besides messages, drops and outcomes: rules of the protocol that came to bear, and faults. */

/** Rule: how the simulated world tells (random runs see processes from outside, see observer.ts). */
export const PROTOCOL_RULES = {
  // Reads.
  'get in one round': 'ended ok; one READ phase, nothing else sent',
  'newest value fetched': 'a second READ phase that asks holders only, for the value',
  'get begins again': 'a further READ phase to a quorum: what it wanted was overwritten, or is nowhere',
  'get writes back before it answers': 'WRITE with the flag write-back, then ok',
  'tombstone written back': 'the same with a tombstone, then absent',
  'absent: never written': 'absent, and every answer had counter 0',
  'absent: tombstone': 'absent, and some answer had a greater counter',
  'tampered copy noticed by a reader': 'counter of the coordinator',
  'repair sent': 'counter of the coordinator',
  'repair applied': 'counter of the replica',
  // Writes.
  'put in two rounds': 'ended ok after STAMP and WRITE',
  'delete in two rounds': 'the same',
  'value sealed after the first round': 'a quorum of STAMP_REPLY came before the sealing was done',
  'put with refusals of a minority': 'ended ok although a STAMP_REPLY or WRITE_REPLY refused it',
  'unknown outcome that took effect': 'ended as outcome-unknown, and its value was read',
  'greater stamp applied': 'a WRITE met an older entry, or none',
  'write-back applied': 'the same, with the flag write-back',
  'tombstone applied': 'the same, of a delete',
  'older write acknowledged, not applied': 'a WRITE met a newer entry',
  'equal stamp acknowledged': 'a WRITE met its own stamp and tag: repeated, or written back by another',
  // Operations.
  hedge: 'counter of the coordinator',
  retransmission: 'counter of the coordinator',
  'ends while the sealing has its value': 'a job came back to an operation that had ended',
  'no room for another operation': 'a start was refused: the table is full',
  // Sessions.
  'session made': 'message 2 fits, and there is no earlier session',
  'session renewed for age': 'message 2 fits; the earlier session was due',
  'session renewed after silence': 'message 2 fits; the earlier session was not due',
  'message 1 repeated': 'the same REQUEST again',
  'message 1 with a cookie': 'a REQUEST whose mac2 is set',
  'repeated message 1 gets the same answer': 'the same RESPONSE again',
  // Formation.
  'active when all have voted': 'became active by a STATE that was a vote',
  'active on the word of an active member': 'became active by a STATE of an active member',
  'vote that came to nothing': 'the process goes on under a new incarnation',
  'restarted replica stays outside': 'state outside',
  'another instance forms when all members are gone': 'all crashed and restarted: active again',
  'client refuses another instance': 'a quorum is active in an instance that it has not pinned',
} as const;
export type ProtocolRule = keyof typeof PROTOCOL_RULES;

export const FAULTS = [
  // Network.
  'lost',
  'duplicated',
  'late',
  'bit flipped',
  'cut short',
  'replayed',
  'random bytes',
  'header altered',
  'sent from another address',
  'link out for a while',
  'link cut in one direction',
  'partition',
  'clogged, then all at once',
  'lost by schedule',
  'late by schedule',
  'receive buffer overrun',
  'flood of garbage',
  // Processes.
  'crash',
  'restart with nothing in memory',
  'two processes of one member',
  'pause',
  'slow for a while',
  'clock jumps forward',
  'clock drifts',
  'wall clock jumps',
  'sending fails',
  'sending takes long',
  'late cryptography',
  // Host memory.
  'host flips a bit',
  'host puts an old copy back',
  'host swaps two values',
  // Clients.
  'cancelled at once',
  'cancelled later',
  'deadline of zero',
  'burst of operations',
  'tiny capacity',
  'empty value',
  'value as large as possible',
  'value too large for others',
  'closed with operations open',
  'client killed',
  // Strangers.
  'authenticated and hostile',
  'unknown static key',
  'another cluster',
  'wrong static key of the member',
  'another mode',
  'handshake flood',
] as const;
export type Fault = (typeof FAULTS)[number];
