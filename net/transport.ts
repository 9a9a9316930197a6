/**
 * A socket, or its twin in a simulated network. Unreliable, unordered, keeps datagram borders.
 */
export interface TransportHandler {
  /** The datagram is the handler's from now on. */
  onDatagram(datagram: Uint8Array, host: string, port: number): void;
  /** The buffer given to send() under this token is free again. */
  onSent(token: number, failed: boolean): void;
}

export interface Transport {
  readonly host: string;
  readonly port: number;
  /** What the system granted, bytes. */
  readonly receiveBufferBytes: number;
  /** Called once, before anything is sent. */
  start(handler: TransportHandler): void;
  /**
   * Sends buffer[0 .. byteCount). The buffer stays untouched until onSent(token), which never comes from inside send().
   */
  send(token: number, buffer: Uint8Array, byteCount: number, host: string, port: number): void;
  /** Takes the memory of a received datagram back, at which nobody looks any more. Not needed, but see RELEASE_BYTES_MIN. */
  release(datagram: Uint8Array): void;
  close(): Promise<void>;
}
