/**
 * The errors of signaling, and what each code means for what to do next.
 *
 * Codes that the server answers pass through unchanged. The client adds `timeout`,
 * `connection_lost`, `not_connected`, `closed`, `bad_url`, `taken_over` and `origin_refused`.
 */

/** A request that was refused by the server, or that never got an answer. */
export class SignalingError extends Error {
  /**
   * @param {string} code a word from the server's list, or one of the client's own
   * @param {string} [message] for the console; pages choose their words by code
   */
  constructor(code, message = code) {
    super(message);
    this.name = 'SignalingError';
    this.code = code;
  }
}

/** The server forgot the session: join afresh. */
const SESSION_GONE = new Set(['session_expired', 'session_not_found', 'room_not_found']);

/** The token is missing, wrong, expired, or grants too little. */
const NOT_ALLOWED = new Set(['unauthorized', 'forbidden']);

/** A join that failed so may work in a moment; anything else would fail again. */
const PASSING = new Set([
  'rate_limited',
  'too_many_requests_pending',
  'overloaded',
  'plane_unavailable',
  'storage_unavailable',
  'shutting_down',
  'internal_error',
  'timeout',
  'connection_lost',
  'not_connected',
]);

/** Close codes of a socket after which connecting again would do no good. */
const FINAL_CLOSE_CODES = new Map([
  [4001, 'taken_over'],
  [4004, 'origin_refused'],
]);

/** Whether a refused `resume` means to join afresh. */
export const isSessionGone = (code) => SESSION_GONE.has(code);

/** Whether `code` says that this person may not do this. */
export const isNotAllowed = (code) => NOT_ALLOWED.has(code);

/** Whether trying the same request again later makes sense. */
export const isPassing = (code) => PASSING.has(code);

/** Whether `error` only says that the socket went away meanwhile. */
export const isDisconnection = (error) =>
  ['connection_lost', 'not_connected', 'closed'].includes(error?.code);

/** The error that a socket's close code stands for, or undefined when to connect again. */
export const finalError = (closeCode) => FINAL_CLOSE_CODES.get(closeCode);
