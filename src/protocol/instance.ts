/**
 * A cluster instance: the set of incarnations, one a member, that began together with empty stores. Replicas and
 * clients pin it; a process outside it has no vote. Incarnations are 128-bit random numbers, drawn at each start, in
 * hex here.
 */
export interface Instance {
  /** Hex of the hash over cluster id and incarnations in the order of members. */
  readonly id: string;
  readonly incarnations: readonly string[];
}

export type InstanceHash = (bytes: Uint8Array) => Uint8Array;

export function instanceOf(clusterId: Uint8Array, incarnations: readonly string[], hash: InstanceHash): Instance {
  const text = `avocado instance v1\n${toHex(clusterId)}\n${incarnations.join('\n')}\n`;
  return { id: toHex(hash(new TextEncoder().encode(text)).subarray(0, 16)), incarnations };
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}
