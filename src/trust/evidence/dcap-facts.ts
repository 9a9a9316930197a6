import type { DcapCollateral } from './dcap-collateral.ts';
import type { TcbVerdict } from './dcap-library.ts';
import type { DcapPlatform } from './dcap-platform.ts';
import type { DcapQuote, SgxReport, TdReport } from './dcap-quote.ts';
import type { MeasuredFacts } from './evidence.ts';

/** A verified quote in the terms of a policy. Debug, migration and revocation have been refused before. */
export function describeDcap(
  { report, version }: DcapQuote,
  platform: DcapPlatform,
  { tcbInfo, qeIdentity }: DcapCollateral,
  { status, advisoryIds }: TcbVerdict,
): Omit<MeasuredFacts, 'validFromMs' | 'validUntilMs'> {
  const own = report.kind === 'sgx' ? describeSgx(report) : describeTdx(report);
  // The lower of the two: a host that hands over old collateral, as long as it is valid, is noticed by a minimum.
  const evaluation = Math.min(tcbInfo.tcbEvaluationDataNumber, qeIdentity.tcbEvaluationDataNumber);
  return {
    kind: report.kind,
    measurement: own.measurement,
    signers: own.signers,
    registers: own.registers,
    reportData: new Uint8Array(report.reportData),
    tcb: {
      ...components('cpuSvn', platform.cpuSvn),
      pceSvn: platform.pceSvn,
      ...own.tcb,
      tcbEvaluationDataNumber: evaluation,
    },
    tcbStatus: status,
    advisoryIds,
    debug: false,
    migrationAgent: false,
    platformId: platform.ppid.toString('hex'),
    vmpl: undefined,
    revocationChecked: true,
    shown: [
      { label: 'quote version', value: `${version}` },
      { label: 'FMSPC', value: platform.fmspc.toString('hex') },
      { label: 'CPUSVN', value: platform.cpuSvn.toString('hex') },
      ...(report.kind === 'tdx' ? [{ label: 'TEE_TCB_SVN', value: report.teeTcbSvn.toString('hex') }] : []),
      { label: 'TCB info number', value: `${tcbInfo.tcbEvaluationDataNumber}` },
      { label: 'quoting enclave identity number', value: `${qeIdentity.tcbEvaluationDataNumber}` },
    ],
  };
}

type OwnFacts = Pick<MeasuredFacts, 'measurement' | 'signers' | 'registers' | 'tcb'>;

function describeSgx(report: SgxReport): OwnFacts {
  return {
    measurement: report.mrEnclave.toString('hex'),
    signers: [report.mrSigner.toString('hex')],
    registers: {
      isvProdId: `${report.isvProdId}`,
      isvExtProdId: report.isvExtProdId.toString('hex'),
      isvFamilyId: report.isvFamilyId.toString('hex'),
      configId: report.configId.toString('hex'),
      attributes: report.attributes.toString('hex'),
      miscSelect: report.miscSelect.toString('hex'),
    },
    tcb: { isvSvn: report.isvSvn },
  };
}

function describeTdx(report: TdReport): OwnFacts {
  return {
    measurement: report.mrTd.toString('hex'),
    // The TD's own image has no signer; the TDX module's has been compared with its identity.
    signers: [],
    registers: {
      ...Object.fromEntries(report.rtmrs.map((rtmr, i) => [`rtmr${i}`, rtmr.toString('hex')])),
      mrConfigId: report.mrConfigId.toString('hex'),
      mrOwner: report.mrOwner.toString('hex'),
      mrOwnerConfig: report.mrOwnerConfig.toString('hex'),
      mrSeam: report.mrSeam.toString('hex'),
      tdAttributes: report.tdAttributes.toString('hex'),
      xfam: report.xfam.toString('hex'),
    },
    tcb: components('teeTcbSvn', report.teeTcbSvn),
  };
}

/** Components are counted from 0, as in TEE_TCB_SVN[0]. */
function components(name: string, svns: Uint8Array): Record<string, number> {
  return Object.fromEntries([...svns].map((svn, i) => [`${name}${i}`, svn]));
}
