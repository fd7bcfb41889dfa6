/**
 * One WebRTC transport to the server, kept alive.
 *
 * Wraps a mediasoup-client Transport. When the connection falters it restarts
 * ICE, a few times; when that does not help the link is dead and its owner
 * builds another.
 *
 * Events: `state` (connectionState), `dead` (never connected: boolean)
 */
import { Emitter } from '../core/emitter.js';
import { isDisconnection } from '../core/errors.js';
import { identity } from './identity.js';

/** A short silence often heals by itself; then ICE is restarted. */
const DISCONNECTED_GRACE_MS = 1_500;
/** A restart that did not connect within this time counts as failed. */
const RESTART_TIMEOUT_MS = 6_000;
const RESTARTS_MAX = 3;

export class Link extends Emitter {
  #request;
  #timer = null;
  #restarts = 0;
  #everConnected = false;

  /**
   * Create the transport on both sides.
   * @param {'send' | 'recv'} direction
   * @param {import('mediasoup-client').Device} device loaded
   * @param {(method: string, data: object) => Promise<object>} request
   */
  static async open(direction, device, request) {
    return new Link(direction, device, request, await Link.prepare(direction, request));
  }

  /** What the server has to say of a new transport: it may be asked before the device is loaded. */
  static async prepare(direction, request) {
    const [remote, own] = await Promise.all([
      request('createTransport', { direction }),
      identity(),
    ]);
    return { remote, own };
  }

  /** @param {{remote: object, own: object | null}} prepared what `prepare` gave */
  constructor(direction, device, request, { remote, own }) {
    super();
    this.direction = direction;
    this.#request = request;
    const additionalSettings = own ? { certificates: [own.certificate] } : {};
    const options = { ...remote, additionalSettings };
    this.transport =
      direction === 'send'
        ? device.createSendTransport(options)
        : device.createRecvTransport(options);
    // With a certificate the server is told at once who connects; else when the browser says so. It
    // keeps what comes before it has read that, so the connection need not wait for its answer.
    if (own) this.#connect({ role: 'client', fingerprints: own.fingerprints });
    this.transport.on('connect', ({ dtlsParameters }, done) => {
      if (!own) this.#connect(dtlsParameters);
      done();
    });
    const transport = this.transport.id;
    this.transport.on('produce', ({ kind, rtpParameters, appData }, done, fail) => {
      request('produce', { transport, kind, rtpParameters, appData }).then(done, fail);
    });
    this.transport.on('connectionstatechange', (state) => this.#onState(state));
  }

  /** The transport's id, as the server knows it. */
  get id() {
    return this.transport.id;
  }

  /** `new`, `connecting`, `connected`, `disconnected`, `failed` or `closed`. */
  get state() {
    return this.transport.connectionState;
  }

  /** Restart ICE at once unless all is well, e.g. after the network changed. */
  recover() {
    if (['disconnected', 'failed'].includes(this.state)) this.#restart();
  }

  /** Close the local side. The server is told by the owner, if it needs to be. */
  close() {
    clearTimeout(this.#timer);
    this.removeAllListeners();
    if (!this.transport.closed) this.transport.close();
  }

  /** As mediasoup-client has it, browsers are the client of DTLS wherever the server leaves the choice. */
  #connect(dtlsParameters) {
    this.#request('connectTransport', { transport: this.id, dtlsParameters }).catch(() =>
      this.emit('dead', false),
    );
  }

  #onState(state) {
    clearTimeout(this.#timer);
    if (state === 'connected') {
      this.#everConnected = true;
      this.#restarts = 0;
    } else if (state === 'disconnected') {
      this.#timer = setTimeout(() => this.#restart(), DISCONNECTED_GRACE_MS);
    } else if (state === 'failed') {
      this.#restart();
    }
    this.emit('state', state);
  }

  async #restart() {
    clearTimeout(this.#timer);
    if (this.transport.closed) return;
    if (this.#restarts >= RESTARTS_MAX) {
      this.emit('dead', !this.#everConnected);
      return;
    }
    this.#restarts += 1;
    this.#timer = setTimeout(() => this.#restart(), RESTART_TIMEOUT_MS);
    try {
      const { iceParameters } = await this.#request('restartIce', { transport: this.id });
      if (!this.transport.closed) await this.transport.restartIce({ iceParameters });
    } catch (error) {
      if (this.transport.closed) return;
      clearTimeout(this.#timer);
      // Without a socket there is nothing to do: `recover` is called once it is back.
      if (isDisconnection(error)) this.#restarts -= 1;
      else this.emit('dead', !this.#everConnected);
    }
  }
}
