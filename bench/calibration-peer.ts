import { UdpTransport } from '../net/udp.ts';

/** The other process of the calibration: it sends datagrams back, or counts them. */
export type PeerQuestion =
  | { readonly type: 'open'; readonly host: string }
  /** From now on datagrams go back. */
  | { readonly type: 'echo' }
  /** How many came since the last time; from now on they are counted only. */
  | { readonly type: 'count' };

export type PeerAnswer =
  | { readonly type: 'opened'; readonly port: number }
  | { readonly type: 'ready' }
  | { readonly type: 'counted'; readonly received: number };

/** A sent datagram is its token's until it has left; so many can be under way. */
const TOKEN_COUNT = 64;

let echoing = false;
let received = 0;
let token = 0;
let transport: UdpTransport | undefined;

async function answer(question: PeerQuestion): Promise<PeerAnswer> {
  switch (question.type) {
    case 'open': {
      const opened = await UdpTransport.open({ host: question.host, port: 0 });
      opened.start({ onDatagram, onSent: () => {} });
      transport = opened;
      return { type: 'opened', port: opened.port };
    }
    case 'echo':
      echoing = true;
      return { type: 'ready' };
    case 'count': {
      const counted = received;
      received = 0;
      echoing = false;
      return { type: 'counted', received: counted };
    }
  }
}

function onDatagram(datagram: Uint8Array, host: string, port: number): void {
  received++;
  if (!echoing) return;
  token = (token + 1) % TOKEN_COUNT;
  transport?.send(token, datagram, datagram.length, host, port);
}

process.on('message', (question: PeerQuestion) => {
  void answer(question).then((reply) => process.send?.(reply));
});
// The parent ends this process; Ctrl-C reaches the whole group.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit());
