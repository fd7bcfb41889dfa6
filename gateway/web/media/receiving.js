/**
 * What this client watches: makes its consumers match the producers of others,
 * over one receive transport. Safe to run again at any time.
 */
import { Link } from './link.js';
import { SignalingError, isDisconnection } from '../core/errors.js';
import { layerFor } from './viewing.js';

/** How a picture is seen of which the page says nothing: as large as it comes. */
const AS_IT_COMES = { seen: true };

export class Receiving {
  #device;
  #request;
  #onLink;
  #onConsumer;
  #link = null;
  #held = new Map();
  #views = new Map();
  #unplayable = new Set();
  #opening = null;
  #prepared = null;

  /**
   * @param {(link: Link) => void} onLink called with each new transport
   * @param {() => void} onConsumer called when there is one more
   * @param {Promise<object> | null} prepared what the server said of the first one, if it was asked
   */
  constructor(device, request, onLink, onConsumer, prepared = null) {
    this.#device = device;
    this.#prepared = prepared;
    this.#request = request;
    this.#onLink = onLink;
    this.#onConsumer = onConsumer;
  }

  get link() {
    return this.#link;
  }

  /** The mediasoup-client Consumers, by producer id. */
  get consumers() {
    return new Map([...this.#held].map(([id, { consumer }]) => [id, consumer]));
  }

  /** Producers that this browser has no codec for. */
  get unplayable() {
    return this.#unplayable;
  }

  /**
   * Create and close consumers until they match.
   * @param {Array<{id: string, peer: string, kind: string, appData: object}>} producers
   */
  async reconcile(producers) {
    const wanted = new Set(producers.map(({ id }) => id));
    for (const id of [...this.#held.keys()]) if (!wanted.has(id)) await this.#unwatch(id);
    for (const known of [this.#unplayable, this.#views]) {
      for (const id of [...known.keys()]) if (!wanted.has(id)) known.delete(id);
    }
    const asked = new Asked();
    const results = await Promise.allSettled(producers.map((item) => this.#watch(item, asked)));
    const failed = results.find(({ status }) => status === 'rejected');
    if (failed) throw failed.reason;
  }

  /** The server closed a consumer, or the producer behind it. */
  consumerClosed({ consumer: id, producer }) {
    for (const [key, { consumer }] of this.#held) {
      if (consumer.id !== id && key !== producer) continue;
      this.#held.delete(key);
      consumer.close();
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

  /**
   * Have pictures sent as they are seen.
   * @param {Map<string, import('./viewing.js').View>} views by producer
   */
  async view(views) {
    // All at once: what one of them waits for must not let a newer view of another be overtaken.
    await Promise.all([...views].map(([producer, view]) => {
      this.#views.set(producer, view); // what is not consumed yet begins as it is seen
      const held = this.#held.get(producer);
      return held?.begun || held?.adjusting ? this.#adjust(held, view) : null;
    }));
  }

  /** Ask the host for a whole picture, e.g. when the decoder is stuck. */
  async requestKeyFrame(producer) {
    const held = this.#held.get(producer);
    if (held) await this.#request('requestKeyFrame', { consumer: held.consumer.id });
  }

  async #watch({ id, peer, appData }, asked) {
    if (this.#unplayable.has(id)) return;
    try {
      if (!this.#held.has(id)) await this.#consume(id, peer, appData, asked);
      const held = this.#held.get(id);
      if (held && !held.begun) await this.#adjust(held, this.#views.get(id) ?? AS_IT_COMES);
    } catch (error) {
      if (error.code === 'cannot_consume') this.#unplayable.add(id);
      else if (!isGone(error)) throw error;
    }
  }

  async #consume(producer, peer, appData, asked) {
    const link = await this.#openLink();
    const answering = this.#request('consume', {
      transport: link.id,
      producer,
      rtpCapabilities: this.#device.recvRtpCapabilities,
    }).catch((error) => {
      // One that was asked for long before may be gone without this side having had it.
      if (error.code === 'transport_not_found' && link === this.#link) this.drop();
      throw error;
    });
    asked.add(answering);
    const { rtpParameters, ...answer } = await answering;
    // Before this side is ready nothing can come on a transport that has yet to connect: no wait for it.
    const soon = link.state === 'new' && !this.#views.has(producer);
    const resuming = soon && this.#request('resumeConsumer', { consumer: answer.id });
    const early = Promise.resolve(resuming).then(Boolean, () => false);
    await asked.answered;
    const consumer = await link.transport.consume({
      id: answer.id,
      producerId: producer,
      kind: answer.kind,
      rtpParameters,
      // One stream a source: the browser then keeps its sound and picture in step.
      streamId: `${peer}-${streamOf(appData)}`,
    });
    if (link !== this.#link) throw new SignalingError('transport_closed');
    const held = { consumer, type: answer.type, begun: false, paused: true, layer: null, priority: 1 };
    this.#held.set(producer, held);
    this.#onConsumer(); // a page may show its track before there is anything in it
    held.paused = !(await early); // if it failed, it is tried again
    if (link !== this.#link) throw new SignalingError('transport_closed');
  }

  /** One request at a time; the newest view wins. */
  async #adjust(held, view) {
    held.view = view;
    if (held.adjusting) return;
    held.adjusting = true;
    try {
      while (held.view) {
        const next = held.view;
        held.view = null;
        await this.#meetView(held, next);
      }
    } catch (error) {
      if (!isGone(error)) throw error;
    } finally {
      held.adjusting = false;
    }
  }

  async #meetView(held, { seen, height_px, priority = 1 }) {
    const consumer = held.consumer.id;
    const wanted = height_px === undefined || held.type === 'simple' ? held.layer : layerFor(height_px);
    const layer = seen ? wanted : held.layer;
    const matters = seen ? priority : held.priority;
    const requests = [];
    if (layer !== held.layer) requests.push(['setPreferredLayers', { consumer, spatialLayer: layer }]);
    if (matters !== held.priority) requests.push(['setPriority', { consumer, priority: matters }]);
    if (seen === held.paused) requests.push([seen ? 'resumeConsumer' : 'pauseConsumer', { consumer }]);
    // One after another without waiting: the server takes them in order.
    await Promise.all(requests.map(([method, data]) => this.#request(method, data)));
    Object.assign(held, { layer, priority: matters, paused: !seen, begun: true });
  }

  #openLink() {
    if (this.#link) return this.#link;
    // Several consumers start together: they share one attempt.
    this.#opening ??= this.#newLink()
      .then((link) => {
        this.#link = link;
        this.#onLink(link);
        return link;
      })
      .finally(() => {
        this.#opening = null;
      });
    return this.#opening;
  }

  async #newLink() {
    const prepared = this.#prepared;
    this.#prepared = null;
    const options = await prepared?.catch(() => null);
    if (options) return new Link('recv', this.#device, this.#request, options);
    return Link.open('recv', this.#device, this.#request);
  }

  async #unwatch(id) {
    const held = this.#held.get(id);
    if (!held) return; // the server closed it while another one was let go of
    const { consumer } = held;
    this.#held.delete(id);
    consumer.close();
    try {
      await this.#request('closeConsumer', { consumer: consumer.id });
    } catch (error) {
      if (isDisconnection(error)) throw error; // else it is gone already
    }
  }
}

/**
 * What is asked for together, so that it is described together. mediasoup-client makes one description
 * of what it is given at once; in two, the first might connect the transport while the browser does not
 * yet know the second, whose keyframe would be lost.
 */
class Asked {
  #answers = [];
  #answered = null;

  /** @param {Promise<object>} answer of the server */
  add(answer) {
    this.#answers.push(answer);
  }

  /** When there is an answer to each, be it a refusal: one promise for all who wait. */
  get answered() {
    return (this.#answered ??= Promise.allSettled(this.#answers));
  }
}

/** What was asked about has closed meanwhile: its notification is on the way. */
const isGone = (error) => /^(producer|consumer)_(not_found|closed)$/.test(error.code);

/** The stream that a producer belongs to: `camera` with `microphone`, `screen` with its sound. */
export function streamOf(appData) {
  return String(appData?.source ?? '').startsWith('screen') ? 'screen' : 'camera';
}
