import * as asn1 from 'asn1js';

/** What Intel says of a platform in its PCK certificate. */
export interface PlatformPlan {
  ppid: Buffer;
  fmspc: Buffer;
  pceId: Buffer;
  cpuSvn: Buffer;
  pceSvn: number;
}

export const SGX_EXTENSIONS = '1.2.840.113741.1.13.1';

/** DER of Intel's table: PPID, TCB (16 components, PCE SVN, CPUSVN), PCE id, FMSPC, kind of SGX. */
export function makeSgxExtensions({ ppid, fmspc, pceId, cpuSvn, pceSvn }: PlatformPlan): Buffer {
  const tcb = [
    ...[...cpuSvn].map((svn, i) => pair(`2.${i + 1}`, new asn1.Integer({ value: svn }))),
    pair('2.17', new asn1.Integer({ value: pceSvn })),
    pair('2.18', octets(cpuSvn)),
  ];
  const table = new asn1.Sequence({
    value: [
      pair('1', octets(ppid)),
      pair('2', new asn1.Sequence({ value: tcb })),
      pair('3', octets(pceId)),
      pair('4', octets(fmspc)),
      pair('5', new asn1.Enumerated({ value: 0 })),
    ],
  });
  return Buffer.from(table.toBER());
}

function pair(suffix: string, value: asn1.BaseBlock): asn1.Sequence {
  return new asn1.Sequence({ value: [new asn1.ObjectIdentifier({ value: `${SGX_EXTENSIONS}.${suffix}` }), value] });
}

function octets(bytes: Buffer): asn1.OctetString {
  return new asn1.OctetString({ valueHex: new Uint8Array(bytes).buffer });
}
