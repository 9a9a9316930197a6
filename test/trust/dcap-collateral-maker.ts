import type { KeyObject } from 'node:crypto';
import { chainPem, DAY_MS, MODULE_MRSIGNER, NOW_MS, QE_ISVSVN, QE_MRSIGNER, signRaw } from './dcap-plan.ts';
import type { CollateralJson, DcapChanges, Holders, QeIdentityJson, TcbInfoJson } from './dcap-plan.ts';
import type { PlatformPlan } from './sgx-extensions.ts';
import { makeList } from './x509-maker.ts';
import type { Holder, ListPlan } from './x509-maker.ts';

/** Collateral as src/trust/evidence/dcap-collateral.ts describes it, one platform's. */
export function makeDcapCollateral(
  kind: 'sgx' | 'tdx',
  holders: Holders,
  platform: PlatformPlan,
  changes: DcapChanges,
): CollateralJson {
  const { root, pckCa, tcbSigning } = holders;
  const listDates = { thisUpdate: new Date(NOW_MS - 5 * DAY_MS), nextUpdate: new Date(NOW_MS + 25 * DAY_MS) };
  const list = (issuer: Holder, change: Partial<ListPlan> | undefined): string =>
    Buffer.from(makeList({ issuerName: issuer.name, signer: issuer, ...listDates, ...change })).toString('hex');
  const tcbInfo = makeTcbInfo(kind, platform);
  changes.tcbInfo?.(tcbInfo);
  const qeIdentity = makeQeIdentity(kind);
  changes.qeIdentity?.(qeIdentity);
  const [tcbInfoText, qeIdentityText] = [JSON.stringify(tcbInfo), JSON.stringify(qeIdentity)];
  const signText = (text: string, by: KeyObject | undefined): string =>
    signRaw(Buffer.from(text), by ?? tcbSigning.privateKey).toString('hex');
  const collateral: CollateralJson = {
    pck_crl_issuer_chain: chainPem(pckCa, root),
    root_ca_crl: list(root, changes.rootList?.(holders)),
    pck_crl: list(pckCa, changes.pckList?.(holders)),
    tcb_info_issuer_chain: chainPem(tcbSigning, root),
    tcb_info: tcbInfoText,
    tcb_info_signature: signText(tcbInfoText, changes.signers?.tcbInfo),
    qe_identity_issuer_chain: chainPem(tcbSigning, root),
    qe_identity: qeIdentityText,
    qe_identity_signature: signText(qeIdentityText, changes.signers?.qeIdentity),
  };
  changes.collateral?.(collateral, holders);
  return collateral;
}

const STATEMENT_DATES = { issueDate: isoTime(NOW_MS - 3 * DAY_MS), nextUpdate: isoTime(NOW_MS + 27 * DAY_MS) };

function makeTcbInfo(kind: 'sgx' | 'tdx', platform: PlatformPlan): TcbInfoJson {
  const components = (svns: readonly number[]) => Array.from({ length: 16 }, (_, i) => ({ svn: svns[i] ?? 0 }));
  const level = (first: number, tcbStatus: string, advisoryIDs: readonly string[]) => ({
    tcb: {
      sgxtcbcomponents: components([first, 5, 2, 2, 4, 1]),
      pcesvn: 300,
      ...(kind === 'tdx' ? { tdxtcbcomponents: components([5, 0, 3]) } : {}),
    },
    tcbDate: '2030-03-13T00:00:00Z',
    tcbStatus,
    advisoryIDs,
  });
  const moduleIdentity = {
    mrsigner: MODULE_MRSIGNER.toString('hex'),
    attributes: '0000000000000000',
    attributesMask: 'FFFFFFFFFFFFFFFF',
  };
  const moduleLevel = (isvsvn: number, tcbStatus: string, advisoryIDs?: readonly string[]) => ({
    tcb: { isvsvn },
    tcbDate: '2030-03-13T00:00:00Z',
    tcbStatus,
    ...(advisoryIDs === undefined ? {} : { advisoryIDs }),
  });
  return {
    id: kind === 'sgx' ? 'SGX' : 'TDX',
    version: 3,
    ...STATEMENT_DATES,
    fmspc: platform.fmspc.toString('hex').toUpperCase(),
    pceId: platform.pceId.toString('hex'),
    tcbType: 0,
    tcbEvaluationDataNumber: 17,
    ...(kind === 'tdx'
      ? {
          tdxModule: moduleIdentity,
          tdxModuleIdentities: [
            { id: 'TDX_03', ...moduleIdentity, tcbLevels: [moduleLevel(3, 'UpToDate')] },
            {
              id: 'TDX_01',
              ...moduleIdentity,
              tcbLevels: [moduleLevel(6, 'UpToDate'), moduleLevel(2, 'OutOfDate', ['INTEL-SA-00003'])],
            },
          ],
        }
      : {}),
    tcbLevels: [
      level(5, 'UpToDate', []),
      level(4, 'OutOfDate', ['INTEL-SA-00001']),
      level(3, 'ConfigurationNeeded', ['INTEL-SA-00002']),
      level(1, 'Revoked', []),
    ],
  };
}

function makeQeIdentity(kind: 'sgx' | 'tdx'): QeIdentityJson {
  return {
    id: kind === 'sgx' ? 'QE' : 'TD_QE',
    version: 2,
    ...STATEMENT_DATES,
    tcbEvaluationDataNumber: 16,
    miscselect: '00000000',
    miscselectMask: 'FFFFFFFF',
    attributes: '11000000000000000000000000000000',
    attributesMask: 'FBFFFFFFFFFFFFFF0000000000000000',
    mrsigner: QE_MRSIGNER.toString('hex').toUpperCase(),
    isvprodid: 1,
    tcbLevels: [
      { tcb: { isvsvn: QE_ISVSVN }, tcbDate: '2030-03-13T00:00:00Z', tcbStatus: 'UpToDate' },
      { tcb: { isvsvn: 5 }, tcbDate: '2029-03-13T00:00:00Z', tcbStatus: 'OutOfDate', advisoryIDs: ['INTEL-SA-00004'] },
    ],
  };
}

function isoTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
