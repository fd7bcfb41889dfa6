/**
 * The signaling client: one WebSocket that stays, as far as anyone can tell.
 *
 * It joins a room, sends requests, and hands on notifications. When the socket
 * breaks it reconnects by itself, resumes the session, and takes every missed
 * notification once; when the session is gone it joins afresh.
 *
 * Events:
 *   `joining`                `join` was sent: what needs none of its answer may follow at once
 *   `joined` (answer)        a new session: everything of an older one is void
 *   `resumed` (answer)       the same session again; missed notifications follow
 *   `notification` ({event, position, data})   each exactly once, in order
 *   `welcome` (data)         the server's version and limits, once a socket
 *   `lost` ({code, reason})  the socket broke; attempts go on
 *   `retry` ({delay_ms, attempt})  the next attempt comes after this wait
 *   `refused` (SignalingError)     joining makes no sense like this; it has stopped
 */
import { Backoff } from './core/backoff.js';
import { Emitter } from './core/emitter.js';
import { SignalingError, finalError, isPassing, isSessionGone } from './core/errors.js';
import { SUBPROTOCOL, decodeFrame, encodeRequest } from './core/frames.js';
import { Ledger } from './core/ledger.js';

/** Notifications held back while a join or resume is under way; more is a broken server. */
const EARLY_NOTIFICATIONS_MAX = 4096;
const OPEN = 1;

export class Signaling extends Emitter {
  #options;
  #join;
  #backoff;
  #ledger = new Ledger();
  #socket = null;
  #session = null;
  #pending = new Map();
  #early = [];
  #nextId = 1;
  #attempt = 0;
  #timer = null;
  #state = 'idle';
  #joining = false;

  /**
   * @param {object} options
   * @param {string | (() => Promise<string>)} options.url ws: or wss: address of the server, or
   *   what finds it out before each attempt; it must not fail
   * @param {object} options.join data of the `join` request: room, name?, token?, create?
   * @param {typeof WebSocket} [options.WebSocket]
   * @param {Backoff} [options.backoff]
   * @param {number} [options.requestTimeout_ms] after which an unanswered request fails and
   *   the socket counts as dead
   * @param {number} [options.connectTimeout_ms]
   */
  constructor({ url, join, backoff = new Backoff(), ...options }) {
    super();
    this.#join = join;
    this.#backoff = backoff;
    this.#options = {
      url,
      WebSocket: globalThis.WebSocket,
      requestTimeout_ms: 10_000,
      connectTimeout_ms: 8_000,
      ...options,
    };
  }

  /** `idle`, `connecting`, `joined`, `waiting` (for the next attempt) or `closed`. */
  get state() {
    return this.#state;
  }

  /** The session's id, to be kept from others; null before the first join. */
  get session() {
    return this.#session;
  }

  /** How many attempts to connect have failed since the last success. */
  get attempts() {
    return this.#backoff.attempt;
  }

  /** The highest log position that this client knows of. */
  get position() {
    return this.#ledger.position;
  }

  /** Connect and join. Also after `refused`, to try again. Does nothing when under way. */
  start() {
    if (this.#state === 'connecting' || this.#state === 'joined') return;
    this.#connect();
  }

  /** Cut a waiting time short, e.g. because the browser is online again. */
  retryNow() {
    if (this.#state === 'waiting') this.#connect();
  }

  /**
   * Send a request and wait for its answer. It may go out from `joining` on: the server takes
   * requests in order, and refuses what comes behind a `join` that it refuses.
   * @returns {Promise<object>} the answer's data
   * @throws {SignalingError} the server's code, or `not_connected`, `connection_lost`, `timeout`
   */
  request(method, data) {
    if (this.#state !== 'joined' && !this.#joining) {
      return Promise.reject(new SignalingError('not_connected', `${method}: not connected`));
    }
    return this.#send(method, data);
  }

  /**
   * Say goodbye and close for good. The frame goes out even while a page unloads.
   * @param {boolean} [leave] false only drops the socket: the server keeps the session for a while
   */
  close(leave = true) {
    if (leave && this.#state === 'joined') this.#send('leave').catch(() => {});
    this.#state = 'closed';
    clearTimeout(this.#timer);
    this.#drop(1000, new SignalingError('closed'));
    this.#session = null;
  }

  async #connect() {
    clearTimeout(this.#timer);
    this.#state = 'connecting';
    this.#early = [];
    const attempt = ++this.#attempt;
    const { url } = this.#options;
    const address = typeof url === 'function' ? await url() : url;
    if (attempt === this.#attempt && this.#state === 'connecting') this.#open(address);
  }

  #open(url) {
    const { WebSocket, connectTimeout_ms } = this.#options;
    let socket;
    try {
      socket = new WebSocket(url, SUBPROTOCOL);
    } catch (error) {
      this.#stop(new SignalingError('bad_url', error.message));
      return;
    }
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#lose(socket, 0, 'connect timeout'), connectTimeout_ms);
    socket.onopen = () => this.#enter(socket);
    socket.onmessage = ({ data }) => socket === this.#socket && this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#onClose(socket, code, reason);
    socket.onerror = () => {}; // `close` follows and says more
  }

  async #enter(socket) {
    clearTimeout(this.#timer);
    try {
      const answer = await this.#resumeOrJoin();
      if (socket === this.#socket) this.#entered(answer);
    } catch (error) {
      if (socket !== this.#socket) return;
      if (isPassing(error.code)) this.#lose(socket, 0, error.code);
      else this.#stop(error);
    }
  }

  async #resumeOrJoin() {
    if (this.#session !== null) {
      try {
        const data = { session: this.#session, position: this.#ledger.position };
        return { resumed: true, ...(await this.#send('resume', data)) };
      } catch (error) {
        if (!isSessionGone(error.code)) throw error;
        this.#session = null;
      }
    }
    const answer = this.#send('join', this.#join);
    this.#joining = true;
    this.emit('joining');
    return { resumed: false, ...(await answer) };
  }

  #entered({ resumed, ...answer }) {
    this.#state = 'joined';
    this.#joining = false;
    this.#backoff.reset();
    this.#session = answer.session ?? this.#session;
    // A resume answer's position is not taken over: the missed ones lie before it.
    if (!resumed) this.#ledger.reset(answer.position);
    this.emit(resumed ? 'resumed' : 'joined', answer);
    const early = this.#early;
    this.#early = [];
    for (const notification of early) this.#notify(notification);
  }

  #receive(bytes) {
    const frame = typeof bytes === 'string' ? null : decodeFrame(bytes);
    if (frame === null) {
      this.#lose(this.#socket, 1002, 'malformed frame');
    } else if (frame.kind === 'response') {
      this.#settle(frame);
    } else if (frame.event === 'welcome') {
      this.emit('welcome', frame.data);
    } else if (this.#state === 'joined') {
      this.#notify(frame);
    } else if (this.#early.length < EARLY_NOTIFICATIONS_MAX) {
      this.#early.push(frame);
    } else {
      this.#lose(this.#socket, 1002, 'too many early notifications');
    }
  }

  #notify(notification) {
    if (!this.#ledger.take(notification)) return;
    this.emit('notification', notification);
    // No session outlives its room. A new join finds out whether the room is back.
    if (notification.event === 'roomClosed' && this.#state === 'joined') {
      this.#session = null;
      this.#lose(this.#socket, 0, 'room closed');
    }
  }

  #send(method, data) {
    const socket = this.#socket;
    if (socket?.readyState !== OPEN) {
      return Promise.reject(new SignalingError('not_connected', `${method}: not connected`));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new SignalingError('timeout', `${method}: no answer`));
        this.#lose(socket, 0, 'request timeout');
      }, this.#options.requestTimeout_ms);
      this.#pending.set(id, { method, resolve, reject, timer });
      socket.send(encodeRequest(id, method, data));
    });
  }

  #settle({ id, ok, data, error }) {
    const request = this.#pending.get(id);
    if (!request) return; // answered after its timeout
    this.#pending.delete(id);
    clearTimeout(request.timer);
    if (ok) request.resolve(data);
    else {
      const { code = 'unknown', message = code } = error ?? {};
      request.reject(new SignalingError(code, `${request.method}: ${message}`));
    }
  }

  #onClose(socket, code, reason) {
    const error = finalError(code);
    if (!error) this.#lose(socket, code, reason);
    else if (socket === this.#socket) this.#stop(new SignalingError(error, reason || error));
  }

  /** The socket is gone: fail what waits on it and plan the next attempt. */
  #lose(socket, code, reason) {
    if (socket === null || socket !== this.#socket) return;
    const delay_ms = this.#backoff.next();
    this.#state = 'waiting';
    this.#drop(1000, new SignalingError('connection_lost', reason || `socket closed (${code})`));
    this.#timer = setTimeout(() => this.#connect(), delay_ms);
    this.emit('lost', { code, reason });
    if (this.#state === 'waiting') {
      this.emit('retry', { delay_ms, attempt: this.#backoff.attempt });
    }
  }

  #stop(error) {
    this.#state = 'idle';
    this.#session = null;
    this.#drop(1000, error);
    this.emit('refused', error);
  }

  #drop(code, error) {
    clearTimeout(this.#timer);
    this.#joining = false;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(code);
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject, timer } of pending) {
      clearTimeout(timer);
      reject(error);
    }
  }
}
