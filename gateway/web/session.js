/**
 * A session in a room: signaling, the picture of the room, and the media.
 *
 * It is told what is wanted (publications to send; whether to watch) and makes
 * it so, again after every break: a lost socket, a failed connection, a transport
 * that the server closed, a server that forgot the session.
 *
 * Events:
 *   `change`                  anything that a page may want to show
 *   `levels` (list)           how loud microphones are: `{producer, peer, level}` in dBov
 *   `roomClosed` (reason)     the room is gone; joining is tried again unless closed now
 *   `refused` (SignalingError) joining failed for good
 *   `problem` (code)          `media_blocked`: the server is there, but packets do not get through;
 *                             `unsupported`: this browser's WebRTC will not do
 */
import { Backoff } from './core/backoff.js';
import { Emitter } from './core/emitter.js';
import { isDisconnection, isNotAllowed } from './core/errors.js';
import { Roster } from './core/roster.js';
import { createDevice } from './media/device.js';
import { Link } from './media/link.js';
import { Receiving } from './media/receiving.js';
import { Sending } from './media/sending.js';

export class Session extends Emitter {
  #signaling;
  #watch;
  #createDevice;
  #publications = new Map();
  #views = new Map();
  #media = null;
  #device = null;
  #prepared = null;
  #backoff = new Backoff({ first_ms: 400, max_ms: 8_000 });
  #timer = null;
  #working = false;
  #again = false;
  #everJoined = false;
  #telling = false;
  #request = (method, data) => this.#signaling.request(method, data);

  /** The room as the server describes it. */
  roster = new Roster();
  /** When the next attempt to connect comes (performance.now() ms), or null. */
  retryAt_ms = null;

  /**
   * @param {import('./signaling.js').Signaling} signaling not started yet
   * @param {object} options
   * @param {boolean} options.watch consume what others publish
   * @param {() => Promise<import('mediasoup-client').Device>} [options.createDevice]
   */
  constructor(signaling, { watch, createDevice: create = createDevice }) {
    super();
    this.#createDevice = create;
    this.#signaling = signaling;
    this.#watch = watch;
    signaling.on('joining', () => this.#onJoining());
    signaling.on('joined', (answer) => this.#onJoined(answer));
    signaling.on('resumed', (answer) => this.#onResumed(answer));
    signaling.on('notification', ({ event, data }) => this.#onNotification(event, data));
    signaling.on('refused', (error) => this.emit('refused', error));
    signaling.on('lost', () => this.emit('change'));
    signaling.on('retry', ({ delay_ms }) => {
      this.retryAt_ms = performance.now() + delay_ms;
      this.emit('change');
    });
  }

  /** Connect, join, and begin to do what is wanted. */
  start() {
    this.#signaling.start();
    // Meanwhile the browser finds out what it can do.
    this.#device ??= this.#createDevice();
    this.#device.catch(() => {}); // it is looked at when it is needed
  }

  /** Leave the room and let go of everything. Publications' tracks are not stopped. */
  close() {
    clearTimeout(this.#timer);
    this.#signaling.close();
    this.#closeMedia();
    this.#publications.clear();
    this.removeAllListeners();
  }

  /** Whether the server answers now. */
  get joined() {
    return this.#signaling.state === 'joined';
  }

  /** Whether it ever did. */
  get everJoined() {
    return this.#everJoined;
  }

  /** Attempts to connect that failed in a row; the break itself is none. */
  get attempts() {
    if (this.joined) return 0;
    return Math.max(0, this.#signaling.attempts - (this.#everJoined ? 1 : 0));
  }

  /** State of the connection that media takes: a connectionState, or `none`. */
  get mediaState() {
    const links = [this.#media?.sending.link, this.#media?.receiving.link].filter(Boolean);
    const states = links.map(({ state }) => state);
    for (const state of ['failed', 'disconnected', 'connecting', 'new', 'connected']) {
      if (states.includes(state)) return state;
    }
    return 'none';
  }

  /** Consumers by producer id. */
  get consumers() {
    return this.#media?.receiving.consumers ?? new Map();
  }

  /** Whether something is published that this browser cannot play. */
  get unplayable() {
    return (this.#media?.receiving.unplayable.size ?? 0) > 0;
  }

  /** The mediasoup-client Producer of a source, or null. */
  producer(source) {
    return this.#media?.sending.producer(source) ?? null;
  }

  /** Whether every publication that has a track is on the server. */
  get published() {
    const wanted = [...this.#publications.values()].filter(({ track }) => track);
    return wanted.length > 0 && wanted.every(({ source }) => this.producer(source));
  }

  /**
   * Publish a source, or change how: its track, its pause.
   * @param {Partial<import('./media/sending.js').Publication> & {source: string}} publication
   */
  publish(publication) {
    const { source } = publication;
    const before = this.#publications.get(source) ?? { track: null, paused: false };
    this.#publications.set(source, { ...before, ...publication });
    this.#work();
  }

  /** Publish a source no longer. */
  unpublish(source) {
    if (this.#publications.delete(source)) this.#work();
  }

  /** Ask the host for a whole picture. Failing is no matter: the next one will come. */
  requestKeyFrame(producer) {
    this.#media?.receiving.requestKeyFrame(producer).catch(() => {});
  }

  /**
   * How each picture is seen: what is unseen is not sent, and what is small comes small.
   * @param {Map<string, import('./media/viewing.js').View>} views by producer; others are left alone
   */
  view(views) {
    this.#views = views;
    this.#media?.receiving.view(views).catch((error) => {
      if (!isDisconnection(error)) console.warn(error);
    });
  }

  /** Statistics of the browser's connections: `send` and `recv`, each an RTCStatsReport or null. */
  async stats() {
    const { sending, receiving } = this.#media ?? {};
    const of = (link) => (link && !link.transport.closed ? link.transport.getStats() : null);
    const [send, recv] = await Promise.all([of(sending?.link), of(receiving?.link)]);
    return { send, recv };
  }

  /** Ask the server anything; the pages' own requests go elsewhere. Rejects with a SignalingError. */
  request(method, data) {
    return this.#signaling.request(method, data);
  }

  /** The network is back, or another one: look after everything at once. */
  networkChanged() {
    this.#signaling.retryNow();
    this.#recoverLinks();
  }

  /** What watching needs in any case is asked for along with joining: the server takes both in turn. */
  #onJoining() {
    this.#prepared = this.#watch ? Link.prepare('recv', this.#request) : null;
    this.#prepared?.catch(() => {}); // it is looked at when it is needed
  }

  async #onJoined(answer) {
    this.#everJoined = true;
    this.retryAt_ms = null;
    this.#closeMedia();
    this.roster.reset(answer, { fresh: true });
    const media = { device: null, sending: null, receiving: null, closed: false };
    const [device, prepared] = [this.#device ?? this.#createDevice(), this.#prepared];
    this.#device = this.#prepared = null; // the next session has others
    try {
      media.device = await device;
      await media.device.load({ routerRtpCapabilities: answer.routerRtpCapabilities });
    } catch (error) {
      console.error(error);
      this.emit('problem', 'unsupported');
      return;
    }
    const request = this.#request;
    const watchLink = (link) => this.#watchLink(media, link);
    media.sending = new Sending(media.device, request, watchLink);
    media.receiving = new Receiving(media.device, request, watchLink, () => this.#changed(), prepared);
    if (this.#signaling.session !== answer.session) return; // joined afresh meanwhile
    this.#media = media;
    this.view(this.#views); // what was told before there was anything to tell it to
    this.emit('change');
    this.#work();
  }

  async #onResumed(answer) {
    this.retryAt_ms = null;
    this.roster.reset(answer, { fresh: false });
    this.emit('change');
    this.#recoverLinks();
    try {
      const own = this.roster.ownProducers.map((producer) => [producer.id, producer]);
      await this.#media?.sending.synchronise(new Map(own));
    } catch (error) {
      if (!isDisconnection(error)) console.warn(error);
    }
    this.#work();
  }

  #onNotification(event, data) {
    if (event === 'audioLevels') {
      this.emit('levels', data.levels);
      return;
    }
    const media = this.#media;
    if (event === 'producerDemand') {
      media?.sending.demandChanged(data.producer, data.maxSpatialLayer);
      return;
    }
    const viewers = this.roster.viewerCount;
    let changed = this.roster.apply(event, data);
    if (this.roster.viewerCount > viewers) media?.sending.audienceGrew();
    if (event === 'producerClosed') {
      const ours = media?.sending.producerClosed(data.producer);
      const watched = media?.receiving.consumerClosed({ producer: data.producer });
      changed ||= ours || watched;
    } else if (event === 'consumerClosed') {
      changed = media?.receiving.consumerClosed({ consumer: data.consumer }) || changed;
    } else if (event === 'transportClosed') {
      for (const half of media ? [media.sending, media.receiving] : []) {
        if (half.link?.id === data.transport) half.drop();
      }
      changed = true;
    } else if (event === 'roomClosed') {
      this.#closeMedia();
      this.emit('roomClosed', data.reason);
    }
    if (!changed) return;
    this.emit('change');
    this.#work();
  }

  /** Something changed, and more may in the same breath: that is told once. */
  #changed() {
    if (this.#telling) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      this.emit('change');
    });
  }

  #watchLink(media, link) {
    const half = link.direction === 'send' ? media.sending : media.receiving;
    link.on('state', () => this.emit('change'));
    link.on('dead', (neverConnected) => {
      if (neverConnected) this.emit('problem', 'media_blocked');
      half.drop();
      this.#signaling.request('closeTransport', { transport: link.id }).catch(() => {});
      this.emit('change');
      this.#workLater();
    });
  }

  #recoverLinks() {
    this.#media?.sending.link?.recover();
    this.#media?.receiving.link?.recover();
  }

  #closeMedia() {
    const media = this.#media;
    this.#media = null;
    media?.sending.drop();
    media?.receiving.drop();
  }

  /** Make it so. One run at a time; a change during a run causes another. */
  async #work() {
    clearTimeout(this.#timer);
    this.#again = true;
    if (this.#working) return;
    this.#working = true;
    while (this.#again && this.#media && this.joined) {
      this.#again = false;
      try {
        await this.#media.sending.reconcile(this.#publications.values());
        const watched = this.#watch ? this.roster.remoteProducers : [];
        await this.#media?.receiving.reconcile(watched);
        this.#backoff.reset();
      } catch (error) {
        this.#onWorkFailed(error);
      }
      this.emit('change');
    }
    this.#working = false;
  }

  #onWorkFailed(error) {
    if (isDisconnection(error)) return; // joining or resuming starts the work again
    console.warn(error);
    if (isNotAllowed(error.code)) this.emit('refused', error);
    else this.#workLater();
  }

  #workLater() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#work(), this.#backoff.next());
  }
}
