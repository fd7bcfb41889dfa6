/**
 * What this client publishes: makes the server's producers match the wanted
 * publications, over one send transport. Safe to run again at any time.
 */
import { Link } from './link.js';
import { SignalingError, isDisconnection } from '../core/errors.js';

/**
 * A thing to publish.
 * @typedef {object} Publication
 * @property {string} source `camera`, `microphone`, `screen` or `screenAudio`; told to viewers
 * @property {MediaStreamTrack | null} track null while the source is switched off
 * @property {boolean} paused
 * @property {(device: import('mediasoup-client').Device) => object} [options] gives
 *   mediasoup-client's encodings, codec and codecOptions
 */

export class Sending {
  #device;
  #request;
  #onLink;
  #link = null;
  #held = new Map();

  /** @param {(link: Link) => void} onLink called with each new transport */
  constructor(device, request, onLink) {
    this.#device = device;
    this.#request = request;
    this.#onLink = onLink;
  }

  get link() {
    return this.#link;
  }

  /** The mediasoup-client Producer of a source, if there is one. */
  producer(source) {
    return this.#held.get(source)?.producer ?? null;
  }

  /**
   * Create, change and close producers until they match.
   * @param {Iterable<Publication>} publications
   */
  async reconcile(publications) {
    const wanted = new Map([...publications].map((item) => [item.source, item]));
    for (const source of [...this.#held.keys()]) {
      if (!wanted.has(source)) await this.#unpublish(source);
    }
    for (const publication of wanted.values()) {
      if (!this.#held.has(publication.source) && publication.track) {
        await this.#publish(publication);
      }
      await this.#adjust(publication);
    }
  }

  /**
   * Compare with what the server has, after a break: take over its pauses, and close
   * what it made in answer to a request whose socket broke.
   * @param {Map<string, object>} known the server's picture of this client's producers, by id
   */
  async synchronise(known) {
    for (const held of this.#held.values()) {
      held.paused = known.get(held.producer.id)?.paused ?? held.paused;
    }
    const ours = new Set([...this.#held.values()].map(({ producer }) => producer.id));
    for (const id of known.keys()) {
      if (!ours.has(id)) await this.#request('closeProducer', { producer: id });
    }
  }

  /** The server closed a producer. */
  producerClosed(id) {
    for (const [source, { producer }] of this.#held) {
      if (producer.id !== id) continue;
      this.#held.delete(source);
      producer.close();
      return true;
    }
    return false;
  }

  /** Forget the transport and all on it; `reconcile` then builds anew. */
  drop() {
    const link = this.#link;
    this.#link = null;
    this.#held.clear();
    link?.close();
    return link;
  }

  async #publish({ source, track, options }) {
    if (!this.#link) {
      this.#link = await Link.open('send', this.#device, this.#request);
      this.#onLink(this.#link);
    }
    const link = this.#link;
    const producer = await link.transport.produce({
      ...options?.(this.#device),
      track,
      stopTracks: false,
      zeroRtpOnPause: true,
      appData: { source },
    });
    if (link !== this.#link) throw new SignalingError('transport_closed');
    this.#held.set(source, { producer, paused: false });
  }

  async #adjust({ source, track, paused }) {
    const held = this.#held.get(source);
    if (!held) return;
    const { producer } = held;
    if (producer.track !== track) await producer.replaceTrack({ track });
    if (producer.paused !== paused) paused ? producer.pause() : producer.resume();
    if (held.paused === paused) return;
    await this.#request(paused ? 'pauseProducer' : 'resumeProducer', { producer: producer.id });
    held.paused = paused;
  }

  async #unpublish(source) {
    const held = this.#held.get(source);
    if (!held) return; // the server closed it while another one was given up
    const { producer } = held;
    this.#held.delete(source);
    producer.close();
    try {
      await this.#request('closeProducer', { producer: producer.id });
    } catch (error) {
      if (isDisconnection(error)) throw error; // else it is gone already
    }
  }
}
