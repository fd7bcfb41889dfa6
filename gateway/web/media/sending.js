/**
 * What this client publishes: makes the server's producers match the wanted
 * publications, over one send transport. Safe to run again at any time.
 */
import { Link } from './link.js';
import { Layers } from './resting.js';
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

/** Producers may be needed before the answer to `produce` has been read, but no more than a few. */
const DEMANDS_MAX = 16;

/**
 * What rested begins with its lowest layer: its first picture is the soonest. The others follow
 * when it flows, and the browser's congestion control then probes for the room that they need.
 */
const CLIMB_MS = 400;

/**
 * Who joins begins with the last whole picture (keyframe). So while people come the pictures are made whole
 * so often, which keeps the server from asking for it; it would when the last one is 4 s old.
 */
const KEYFRAME_INTERVAL_MS = 3_000;

/** After somebody came, others are expected for so long. */
const AUDIENCE_MS = 10_000;

/** Have a sender make its next pictures whole. A browser that cannot do so leaves it. */
async function makeKeyframes(sender) {
  const parameters = sender?.getParameters();
  if (!parameters?.encodings?.length) return;
  const encodingOptions = parameters.encodings.map(({ active }) => ({ keyFrame: active ?? true }));
  await sender.setParameters(parameters, { encodingOptions });
}

export class Sending {
  #device;
  #request;
  #onLink;
  #link = null;
  #held = new Map();
  /** What was told of producers of which the server knew before this client. */
  #demands = new Map();
  #audienceUntil_ms = 0;
  #refreshing = null;

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

  /**
   * The server says up to which spatial layer a producer is needed; null: nobody takes it.
   * The layers above rest until they are needed. Pauses and mutes are another matter.
   */
  demandChanged(id, maxSpatialLayer) {
    const held = [...this.#held.values()].find(({ producer }) => producer.id === id);
    if (!held) {
      if (this.#demands.size < DEMANDS_MAX) this.#demands.set(id, maxSpatialLayer);
      return;
    }
    held.demand = maxSpatialLayer;
    this.#meetDemand(held);
  }

  /** One change at a time, for a sender takes no other meanwhile; the newest demand wins. */
  async #meetDemand(held) {
    if (held.adjusting) return;
    held.adjusting = true;
    try {
      let met; // all layers are on at first
      while (met !== held.demand && !held.producer.closed) {
        held.layers ??= new Layers(held.producer.rtpSender);
        const rests = met === null || held.layers.rest;
        met = rests && held.demand > 0 ? 0 : held.demand;
        await held.layers.send(met);
        if (met !== held.demand) await new Promise((next) => setTimeout(next, CLIMB_MS));
      }
    } catch (error) {
      console.warn(error); // it sends more than is needed
    } finally {
      held.adjusting = false;
    }
  }

  /** Somebody came who will watch, or may. */
  audienceGrew() {
    this.#audienceUntil_ms = performance.now() + AUDIENCE_MS;
    if (this.#refreshing === null) this.#refresh();
  }

  async #refresh() {
    const again = performance.now() < this.#audienceUntil_ms && this.#link !== null;
    this.#refreshing = again ? setTimeout(() => this.#refresh(), KEYFRAME_INTERVAL_MS) : null;
    if (again) await Promise.all([...this.#held.values()].map((held) => this.#makeKeyframes(held)));
  }

  /** One change at a time, as with demand. */
  async #makeKeyframes(held) {
    const { producer } = held;
    if (held.adjusting || producer.kind !== 'video' || producer.closed || producer.paused) return;
    if (held.demand === null) return;
    const { demand } = held;
    held.adjusting = true;
    try {
      await makeKeyframes(producer.rtpSender);
    } catch (error) {
      console.warn(error); // the server asks if it must
    } finally {
      held.adjusting = false;
    }
    if (held.demand !== demand) this.#meetDemand(held); // it came meanwhile
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
    this.#demands.clear();
    clearTimeout(this.#refreshing);
    this.#refreshing = null;
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
    const demand = this.#demands.get(producer.id);
    const held = { producer, paused: false, demand, adjusting: false, layers: null };
    this.#held.set(source, held);
    this.#meetDemand(held);
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
