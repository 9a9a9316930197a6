/**
 * How datagrams and values are protected. The modes differ in sealing only, so that comparing them is fair.
 *
 * | mode          | values sealed | control part | datagram MAC |
 * | ------------- | ------------- | ------------ | ------------ |
 * | secure        | yes           | encrypted    | yes          |
 * | authenticated | yes           | clear        | yes          |
 * | plaintext     | no            | clear        | no           |
 */
export const SECURITY_MODES = ['secure', 'authenticated', 'plaintext'] as const;
export type SecurityMode = (typeof SECURITY_MODES)[number];
