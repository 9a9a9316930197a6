import { join } from 'node:path';
import { UdpTransport } from '../../net/udp.ts';
import { runAvocado } from './avocado-process.ts';
import type { Finished, Sandbox } from './avocado-process.ts';
import { Service } from './service.ts';

export type OnEnd = (end: () => Promise<void>) => void;

/** CAS and LAS as operators start them: a process each, on loopback, on one simulated machine. */
export class ProcessChain {
  readonly #sandbox: Sandbox;
  readonly #onEnd: OnEnd;
  /** https://host:port#key */
  reference = '';
  lasUrl = '';
  cas!: Service;
  las!: Service;

  private constructor(sandbox: Sandbox, onEnd: OnEnd) {
    this.#sandbox = sandbox;
    this.#onEnd = onEnd;
    // Clients find the machine in their user's directory, and the LAS by the environment.
    Object.assign(sandbox.environment, { HOME: sandbox.temporaryDirectory });
  }

  /** Until the LAS is attested; members are not started. @param onEnd See Service. */
  static async start(
    sandbox: Sandbox,
    onEnd: OnEnd,
    { memberCount, casOptions = [] }: { readonly memberCount: number; readonly casOptions?: readonly string[] },
  ): Promise<ProcessChain> {
    const chain = new ProcessChain(sandbox, onEnd);
    const { stdout: operator } = await chain.run('cas', 'operator-key', chain.path('operator.json'));
    const members = (await freePorts(memberCount)).map((port) => `127.0.0.1:${port}`).join();
    const made = ['--policy', 'dev', '--operator', operator.trim(), '--members', members, ...casOptions];
    chain.cas = chain.service('cas', 'new', chain.path('cas'), ...made, '--listen', '127.0.0.1:0');
    chain.reference = (await chain.cas.says(/cas is (https:\S+#[0-9a-f]{64}),/))[1]!;
    await chain.startLas('127.0.0.1:0');
    Object.assign(sandbox.environment, { AVOCADO_LAS: chain.lasUrl });
    return chain;
  }

  path(name: string): string {
    return join(this.#sandbox.temporaryDirectory, name);
  }

  get machine(): string {
    return this.path('.avocado-machine.json');
  }

  run(...args: string[]): Promise<Finished> {
    return runAvocado(this.#sandbox, args);
  }

  service(...args: string[]): Service {
    return new Service(this.#onEnd, this.#sandbox, [...args, '--machine', this.machine]);
  }

  /** Once more, from the state in its directory, at the address that it had. */
  async startCas(): Promise<void> {
    const address = this.reference.slice('https://'.length).replace(/#.*/, '');
    this.cas = this.service('cas', 'run', this.path('cas'), '--listen', address);
    await this.cas.says(/serves, confirmed by witnesses/);
  }

  async startLas(address = this.lasUrl.slice('https://'.length)): Promise<void> {
    this.las = this.service('las', '--cas', this.reference, '--listen', address);
    this.lasUrl = (await this.las.says(/listens at (\S+),/))[1]!;
    await this.las.says(/is attested/);
  }
}

/** All are held open until the last is found. */
async function freePorts(count: number): Promise<number[]> {
  const probes = await Promise.all(
    Array.from({ length: count }, () => UdpTransport.open({ host: '127.0.0.1', port: 0 })),
  );
  await Promise.all(probes.map((probe) => probe.close()));
  return probes.map(({ port }) => port);
}
