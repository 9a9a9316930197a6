import type { QeIdentity, TcbInfo } from './dcap-collateral.ts';
import type { TcbVerdict } from './dcap-library.ts';
import type { TdReport } from './dcap-quote.ts';
import { refuseQuote } from './dcap-refusal.ts';

type IsvLevels = QeIdentity['tcbLevels'];

/**
 * The TDX module runs between the host and the TD: who signed it and which version it is counts like the platform's TCB.
 * The DCAP library leaves it out. Source: Intel's TCB info of version 3 and the order of its verification
 * (SGX-TDX-DCAP-QuoteVerificationLibrary, quote verification 4.1.2.4.11 and 4.1.2.4.17.4).
 *
 * @param tcb Of the platform and its quoting enclave.
 * @returns The same with the module's share.
 */
export function judgeTdxModule(report: TdReport, tcbInfo: TcbInfo, tcb: TcbVerdict): TcbVerdict {
  const isvSvn = report.teeTcbSvn[0]!;
  const version = report.teeTcbSvn[1]!;
  // Version 0 is TDX 1.0: its versions are among the platform's TCB levels.
  const id = `TDX_${version.toString(16).padStart(2, '0').toUpperCase()}`;
  const later =
    version === 0 ? undefined : tcbInfo.tdxModuleIdentities?.find((listed) => listed.id.toUpperCase() === id);
  const identity = version === 0 ? tcbInfo.tdxModule : later;
  if (identity === undefined) return refuseQuote('tcb', 'a TDX module that the TCB info lists', id);

  if (!report.mrSignerSeam.equals(identity.mrsigner)) {
    refuseQuote(
      'signer',
      `a TDX module signed by ${identity.mrsigner.toString('hex')}`,
      report.mrSignerSeam.toString('hex'),
    );
  }
  // Intel's own verifier wants them zero whatever the identity says: a debug module sets them.
  const areAttributesRight = report.seamAttributes.every(
    (byte, i) => byte === 0 && (identity.attributes[i]! & identity.attributesMask[i]!) === 0,
  );
  if (!areAttributesRight) {
    refuseQuote('debug', 'a TDX module whose attributes are zero', report.seamAttributes.toString('hex'));
  }
  return later === undefined ? tcb : merge(tcb, levelOf(isvSvn, id, later.tcbLevels));
}

/** Levels are listed newest first; the first that the module reaches is its own. */
function levelOf(isvSvn: number, id: string, levels: IsvLevels): IsvLevels[number] {
  const level = levels.find(({ tcb }) => isvSvn >= tcb.isvsvn);
  return level ?? refuseQuote('tcb', `a version of ${id} that the TCB info lists`, `version ${isvSvn}`);
}

function merge({ status, advisoryIds }: TcbVerdict, module: IsvLevels[number]): TcbVerdict {
  const ids = [...new Set([...advisoryIds, ...(module.advisoryIDs ?? [])])];
  switch (module.tcbStatus) {
    case 'UpToDate':
      return { status, advisoryIds: ids };
    case 'OutOfDate':
      return { status: OUT_OF_DATE[status], advisoryIds: ids };
    case 'SWHardeningNeeded':
    case 'ConfigurationNeeded':
    case 'ConfigurationAndSWHardeningNeeded':
    case 'OutOfDateConfigurationNeeded':
    case 'Revoked':
      return refuseQuote('tcb-status', 'a TDX module that is UpToDate or OutOfDate', module.tcbStatus);
  }
}

/** What a platform is called with a module that is out of date. */
const OUT_OF_DATE: Readonly<Record<TcbVerdict['status'], TcbVerdict['status']>> = {
  UpToDate: 'OutOfDate',
  SWHardeningNeeded: 'OutOfDate',
  ConfigurationNeeded: 'OutOfDateConfigurationNeeded',
  ConfigurationAndSWHardeningNeeded: 'OutOfDateConfigurationNeeded',
  OutOfDate: 'OutOfDate',
  OutOfDateConfigurationNeeded: 'OutOfDateConfigurationNeeded',
};
