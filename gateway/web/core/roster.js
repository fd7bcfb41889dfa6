/**
 * Who and what is in a room, as the server told it. Pure: answers and
 * notifications in, a picture of the room out.
 */
export class Roster {
  /** This client's own peer id. */
  self = null;
  /** Whether the room's host is live. */
  streaming = false;
  /** How many peers there are, this one included, as the server told last; it names few of many. */
  #count = 0;
  /** The producer of who speaks, or null. */
  speaker = null;
  /** Why the stream stopped last, until it starts again. */
  stopReason = null;
  /** Peers that published the stream, until the next one. */
  #publishers = new Set();
  /** @type {Map<string, {id: string, name: string}>} everyone else, by peer id */
  peers = new Map();
  /** @type {Map<string, {id, peer, kind, paused, appData}>} by producer id, own ones included */
  producers = new Map();

  /**
   * Take the answer to `join` or `resume`: it describes the whole room.
   * @param {object} answer
   * @param {{fresh: boolean}} how `fresh`: joined anew, so what was before is another story
   */
  reset(answer, { fresh }) {
    this.self = answer.peer;
    this.peers = new Map();
    for (const peer of answer.peers ?? []) this.#addPeer(peer);
    this.#count = answer.peerCount ?? this.peers.size + 1;
    this.producers = new Map();
    this.#publishers.clear();
    for (const producer of answer.producers ?? []) this.#addProducer(producer);
    this.streaming = Boolean(answer.streaming ?? this.producers.size);
    this.speaker = answer.activeSpeaker ?? null;
    if (fresh || this.streaming) this.stopReason = null;
  }

  /**
   * Apply one notification.
   * @returns {boolean} whether the picture changed
   */
  apply(event, data) {
    switch (event) {
      case 'peerJoined':
        return this.#addPeer(data.peer);
      case 'peerLeft':
        return this.#removePeer(data.peer);
      case 'peerCount':
        return this.#setCount(data.peers);
      case 'producerAdded':
        return this.#addProducer(data.producer);
      case 'producerPaused':
        return this.#setPaused(data.producer, true);
      case 'producerResumed':
        return this.#setPaused(data.producer, false);
      case 'activeSpeaker':
        return this.#setSpeaker(data.producer);
      case 'producerClosed':
        return this.producers.delete(data.producer);
      case 'streamingStarted':
        return this.#setStreaming(true, null);
      case 'streamingStopped':
        return this.#setStreaming(false, data.reason ?? 'stopped');
      case 'roomClosed':
        this.peers.clear();
        this.#count = 0;
        this.producers.clear();
        this.#setStreaming(false, data.reason ?? 'room_closed');
        return true;
      default:
        return false;
    }
  }

  /** Whether someone who published the stream is in the room still. */
  get publisherPresent() {
    return [...this.#publishers].some((peer) => this.peers.has(peer));
  }

  /** Producers of others: what a viewer watches. */
  get remoteProducers() {
    return [...this.producers.values()].filter((producer) => producer.peer !== this.self);
  }

  /** Producers that the server holds for this client. */
  get ownProducers() {
    return [...this.producers.values()].filter((producer) => producer.peer === this.self);
  }

  /** The peer who speaks, or null. */
  get speakingPeer() {
    return this.producers.get(this.speaker)?.peer ?? null;
  }

  /** Those of the audience that the server named. */
  get viewers() {
    const publishing = this.#publishing;
    return [...this.peers.values()].filter((peer) => !publishing.has(peer.id));
  }

  /** How many of the others publish nothing: the audience, named or not. */
  get viewerCount() {
    const publishing = this.#publishing;
    publishing.add(this.self);
    return Math.max(this.#count - publishing.size, this.viewers.length);
  }

  get #publishing() {
    return new Set([...this.producers.values()].map((producer) => producer.peer));
  }

  #addPeer(peer) {
    if (!peer?.id || peer.id === this.self) return false;
    if (!this.peers.has(peer.id)) this.#count += 1;
    this.peers.set(peer.id, { id: peer.id, name: peer.name ?? '' });
    return true;
  }

  #setCount(count) {
    if (!Number.isSafeInteger(count) || count === this.#count) return false;
    this.#count = count;
    return true;
  }

  #removePeer(id) {
    let changed = this.peers.delete(id);
    if (changed) this.#count -= 1;
    for (const producer of [...this.producers.values()]) {
      if (producer.peer === id) changed = this.producers.delete(producer.id) || changed;
    }
    return changed;
  }

  #addProducer(producer) {
    if (!producer?.id) return false;
    const { id, peer, kind, paused = false, appData } = producer;
    this.#publishers.add(peer);
    this.stopReason = null;
    this.producers.set(id, { id, peer, kind, paused, appData: appData ?? {} });
    return true;
  }

  #setPaused(id, paused) {
    const producer = this.producers.get(id);
    if (!producer || producer.paused === paused) return false;
    this.producers.set(id, { ...producer, paused });
    return true;
  }

  #setSpeaker(producer) {
    const changed = this.speaker !== producer;
    this.speaker = producer;
    return changed;
  }

  #setStreaming(streaming, reason) {
    const changed = this.streaming !== streaming;
    this.streaming = streaming;
    this.stopReason = reason;
    return changed;
  }
}
