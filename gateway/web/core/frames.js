/**
 * Frames of the signaling socket, subprotocol `reprise.v1.msgpack`.
 *
 * Three shapes: a request `{id, method, data}` goes out; a response
 * `{id, ok, data | error}` or a notification `{event, position?, data}` comes in.
 */
import { decode, encode } from '@msgpack/msgpack';

/** The WebSocket subprotocol that these frames belong to. */
export const SUBPROTOCOL = 'reprise.v1.msgpack';

/** Bytes of a request frame. Fields that are undefined are left out, at any depth. */
export function encodeRequest(id, method, data) {
  return encode({ id, method, data: data ?? {} }, { ignoreUndefined: true });
}

/**
 * The response or notification in `bytes`, or null when it is neither.
 * @param {ArrayBuffer | Uint8Array} bytes
 * @returns {{kind: 'response', id: number, ok: boolean, data: object, error: object | null}
 *   | {kind: 'notification', event: string, position: number | null, data: object} | null}
 */
export function decodeFrame(bytes) {
  let frame;
  try {
    frame = decode(bytes);
  } catch {
    return null;
  }
  if (typeof frame !== 'object' || frame === null) return null;
  const data = frame.data ?? {};
  if (typeof frame.event === 'string') {
    const position = Number.isSafeInteger(frame.position) ? frame.position : null;
    return { kind: 'notification', event: frame.event, position, data };
  }
  if (Number.isSafeInteger(frame.id) && typeof frame.ok === 'boolean') {
    return { kind: 'response', id: frame.id, ok: frame.ok, data, error: frame.error ?? null };
  }
  return null;
}
