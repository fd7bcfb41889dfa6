/**
 * A fake server that keeps a room: transports, producers and consumers of one
 * client, and a host of another who publishes. No media: only who has what.
 */
import * as parameters from 'mediasoup-client/fakeParameters';
import { FakeServer, Refusal } from './fake-server.mjs';

export class FakeSfu extends FakeServer {
  transports = new Set();
  producers = new Map();
  consumers = new Map();
  #nextId = 1;

  static async start() {
    const sfu = new FakeSfu();
    await sfu.listen(0);
    const { handlers } = sfu;
    handlers.set('createTransport', () => sfu.#createTransport());
    handlers.set('connectTransport', ({ transport }) => sfu.#need(sfu.transports, transport));
    handlers.set('restartIce', ({ transport }) => sfu.#restartIce(transport));
    handlers.set('closeTransport', ({ transport }) => sfu.transportGone(transport));
    handlers.set('produce', (data) => sfu.#produce(data));
    handlers.set('consume', (data) => sfu.#consume(data));
    handlers.set('closeProducer', ({ producer }) => sfu.#close(sfu.producers, producer));
    handlers.set('closeConsumer', ({ consumer }) => sfu.#close(sfu.consumers, consumer));
    handlers.set('pauseProducer', ({ producer }) => sfu.#setPaused(producer, true));
    handlers.set('resumeProducer', ({ producer }) => sfu.#setPaused(producer, false));
    handlers.set('resumeConsumer', ({ consumer }) => sfu.#resumeConsumer(consumer));
    handlers.set('setPreferredLayers', ({ consumer }) => sfu.#need(sfu.consumers, consumer));
    return sfu;
  }

  room(session) {
    return {
      ...super.room(session),
      routerRtpCapabilities: parameters.generateRouterRtpCapabilities(),
      producers: [...this.producers.values()],
      streaming: this.producers.size > 0,
    };
  }

  /** Everything is forgotten, as after a restart without a log. */
  forget() {
    this.sessions.clear();
    this.transports.clear();
    this.producers.clear();
    this.consumers.clear();
  }

  /** What consumers of that kind are. */
  type = () => 'simple';

  /** Another peer publishes. */
  hostPublishes(kind, source) {
    return this.#addProducer('host', kind, { source });
  }

  /** A producer is closed by the server or its owner. */
  closeProducer(id, reason = 'closed') {
    this.producers.delete(id);
    for (const [consumer, { producer }] of this.consumers) {
      if (producer === id) this.consumers.delete(consumer);
    }
    this.notify('producerClosed', { producer: id, reason });
  }

  /** A transport goes with all on it, told only when a reason is given. */
  transportGone(id, reason) {
    this.#need(this.transports, id);
    this.transports.delete(id);
    for (const [producer, { transport }] of this.producers) {
      if (transport === id) this.closeProducer(producer, 'transport_closed');
    }
    for (const [consumer, { transport }] of this.consumers) {
      if (transport === id) this.consumers.delete(consumer);
    }
    if (reason) this.notify('transportClosed', { transport: id, reason });
  }

  #id(kind) {
    return `${kind}-${this.#nextId++}`;
  }

  #need(things, id) {
    if (!things.has(id)) throw new Refusal(`${id?.split('-')[0]}_not_found`);
    return {};
  }

  #createTransport() {
    const id = this.#id('transport');
    this.transports.add(id);
    return { ...parameters.generateTransportRemoteParameters(), id };
  }

  #restartIce(id) {
    this.#need(this.transports, id);
    return { iceParameters: { usernameFragment: 'u', password: 'p', iceLite: true } };
  }

  #produce({ transport, kind, appData }) {
    this.#need(this.transports, transport);
    return { id: this.#addProducer('peer-self', kind, appData, transport) };
  }

  #addProducer(peer, kind, appData, transport) {
    const id = this.#id('producer');
    this.producers.set(id, { id, peer, kind, paused: false, appData, transport });
    this.notify('producerAdded', { producer: this.producers.get(id) });
    return id;
  }

  #consume({ transport, producer }) {
    this.#need(this.transports, transport);
    this.#need(this.producers, producer);
    const { kind } = this.producers.get(producer);
    const id = this.#id('consumer');
    this.consumers.set(id, { producer, transport, paused: true });
    const codecMimeType = kind === 'audio' ? 'audio/opus' : 'video/VP8';
    const { rtpParameters } = parameters.generateConsumerRemoteParameters({ id, codecMimeType });
    return { id, producer, kind, rtpParameters, type: this.type(kind), paused: true };
  }

  #close(things, id) {
    this.#need(things, id);
    if (things === this.producers) this.closeProducer(id);
    else things.delete(id);
    return {};
  }

  #setPaused(id, paused) {
    this.#need(this.producers, id);
    this.producers.get(id).paused = paused;
    this.notify(paused ? 'producerPaused' : 'producerResumed', { producer: id });
    return {};
  }

  #resumeConsumer(id) {
    this.#need(this.consumers, id);
    this.consumers.get(id).paused = false;
    return {};
  }
}
