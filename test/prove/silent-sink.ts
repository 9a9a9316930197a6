/**
 * A process with a UDP socket that it never reads: what is sent there costs its sender, and the system as little as can be.
 * It says its port, and ends with the process that has started it.
 */
import { UdpTransport } from '../../net/udp.ts';

const LOOK_INTERVAL_MS = 500;

const parent = process.ppid;
const { port } = await UdpTransport.open({ host: '127.0.0.1', port: 0 });
process.send!({ port }, () => {
  // The event loop stands still from here on.
  const never = new Int32Array(new SharedArrayBuffer(4));
  while (process.ppid === parent) Atomics.wait(never, 0, 0, LOOK_INTERVAL_MS);
  process.exit();
});
