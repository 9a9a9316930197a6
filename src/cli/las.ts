import { Command, Option } from 'commander';
import type { ChainOptions } from './chain-options.ts';
import {
  casOption,
  casPolicyOption,
  collateralOption,
  listenAddress,
  machineOption,
  teeOption,
  vendorLatencyOption,
} from './chain-options.ts';
import { untilStopSignal } from './stop-signal.ts';

interface LasCommandOptions extends ChainOptions {
  readonly cas: string;
  readonly listen: { readonly host: string; readonly port: number };
}

export function lasCommand(): Command {
  return new Command('las')
    .description("Run this host's attestation service, which vouches for replicas and clients beside it, until Ctrl-C.")
    .addOption(casOption().makeOptionMandatory())
    .addOption(
      new Option('--listen <host:port>', 'where local processes, and CAS for its state witness, reach it')
        .argParser(listenAddress)
        .default({ host: '127.0.0.1', port: 7481 }, '127.0.0.1:7481'),
    )
    .addOption(casPolicyOption())
    .addOption(teeOption())
    .addOption(machineOption())
    .addOption(vendorLatencyOption())
    .addOption(collateralOption())
    .addHelpText(
      'after',
      `
CAS attests it through the vendor's path, once; then it admits in milliseconds. It keeps nothing on disk: started anew, it is
attested anew. Keep it running: it is also one of the witnesses of CAS's state.

Examples:
  avocado las --cas https://10.0.0.1:7480#<key> --listen 10.0.0.2:7481
  avocado las --cas https://127.0.0.1:7480#<key> --vendor-latency 2.9s`,
    )
    .action(las);
}

async function las(options: LasCommandOptions): Promise<void> {
  const stopped = untilStopSignal();
  const { parseCasReference } = await import('../trust/chain/cas-connection.ts');
  const { judgementOf, openPlatform } = await import('../trust/chain/chain-access.ts');
  const { runLas } = await import('../trust/chain/las.ts');
  const { chainAccess } = await import('./chain-options.ts');
  const cas = parseCasReference(options.cas);
  const access = chainAccess(options, options.cas);
  const platform = openPlatform(access);
  const log = (line: string): void => void process.stdout.write(`${new Date().toISOString()} las ${line}\n`);
  const running = await runLas({
    host: options.listen.host,
    port: options.listen.port,
    cas,
    platform,
    judgement: judgementOf(access, platform),
    nowMs: Date.now,
    onEvent: (event) => {
      switch (event.type) {
        case 'attested':
          return log(`${event.lasId} is attested, after ${Math.round(event.ms)} ms`);
        case 'waiting':
          return log(`waits: ${event.reason}`);
        case 'vouched':
          return log(`vouched for ${event.role} ${event.memberIndex ?? ''} in ${event.ms.toFixed(1)} ms`);
        case 'refused':
          return log(event.reason);
      }
    },
    onError: (error) => log(`failed: ${String(error)}`),
  });
  log(`listens at ${running.url}, on a ${platform.kind} platform`);
  try {
    await Promise.race([running.attested, stopped]);
    const signal = await stopped;
    log(`ends on ${signal}`);
  } finally {
    await running.close();
  }
}
