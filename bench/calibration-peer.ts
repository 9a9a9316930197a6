import { UdpTransport } from '../net/udp.ts';

/** The other process of the calibration: it sends datagrams back, counts them, or acknowledges them. */
export type PeerQuestion =
  | { readonly type: 'open'; readonly host: string; readonly receiveBufferBytes: number | null }
  /** From now on datagrams go back. */
  | { readonly type: 'echo' }
  /** From now on it tells the sender once a turn how many have come. */
  | { readonly type: 'acknowledge' }
  /** How many came since the last time; from now on they are counted only. */
  | { readonly type: 'count' };

export type PeerAnswer =
  | { readonly type: 'opened'; readonly port: number; readonly receiveBufferBytes: number }
  | { readonly type: 'ready' }
  | { readonly type: 'counted'; readonly received: number };

/** A sent datagram is its token's until it has left; so many can be under way. */
const TOKEN_COUNT = 64;

type Task = 'echo' | 'count' | 'acknowledge';

let task: Task = 'count';
let acknowledging = false;
let received = 0;
let token = 0;
let transport: UdpTransport | undefined;

async function answer(question: PeerQuestion): Promise<PeerAnswer> {
  switch (question.type) {
    case 'open': {
      const receiveBufferBytes = question.receiveBufferBytes ?? undefined;
      const opened = await UdpTransport.open({ host: question.host, port: 0, receiveBufferBytes });
      opened.start({ onDatagram, onSent: () => {} });
      transport = opened;
      return { type: 'opened', port: opened.port, receiveBufferBytes: opened.receiveBufferBytes };
    }
    case 'echo':
    case 'acknowledge':
      task = question.type;
      received = 0;
      return { type: 'ready' };
    case 'count': {
      const counted = received;
      received = 0;
      task = 'count';
      return { type: 'counted', received: counted };
    }
  }
}

function onDatagram(datagram: Uint8Array, host: string, port: number): void {
  received++;
  if (task === 'echo') send(datagram, host, port);
  else if (task === 'acknowledge' && !acknowledging) {
    acknowledging = true;
    setImmediate(() => {
      acknowledging = false;
      const acknowledgement = new Uint8Array(4);
      new DataView(acknowledgement.buffer).setUint32(0, received, true);
      send(acknowledgement, host, port);
    });
  }
}

function send(datagram: Uint8Array, host: string, port: number): void {
  token = (token + 1) % TOKEN_COUNT;
  transport?.send(token, datagram, datagram.length, host, port);
}

process.on('message', (question: PeerQuestion) => {
  void answer(question).then((reply) => process.send?.(reply));
});
// The parent ends this process; Ctrl-C reaches the whole group.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit());
