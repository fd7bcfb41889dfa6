/**
 * Which row of the timeline shows which lane: the room, all peers of a session, and below each
 * unfolded peer what it has. Pure.
 *
 * There may be thousands of peers; their data comes by pages, as rows come into sight.
 */

export const PAGE = 100;

export class LaneList {
  constructor() {
    this.total = 0;
    this.room = null;
    /** Lanes of peers by ordinal. */
    this.peers = new Map();
    /** Of each unfolded peer: its ordinal, and its lanes below once they are here. */
    this.unfolded = new Map();
    this.#arrange();
  }

  /** How many rows there are. */
  get length() {
    return 1 + this.total + this.#extra;
  }

  #extra = 0;
  #order = [];

  /** Take a page of peers. */
  take({ total, offset, lanes, room }) {
    this.total = total;
    this.room = room ?? this.room;
    lanes.forEach((lane, n) => this.peers.set(offset + n, { ...lane, ordinal: offset + n }));
    this.#arrange();
  }

  unfold(key, ordinal) {
    if (!this.unfolded.has(key)) this.unfolded.set(key, { key, ordinal, children: [] });
    this.#arrange();
  }

  fold(key) {
    this.unfolded.delete(key);
    this.#arrange();
  }

  isUnfolded(key) {
    return this.unfolded.has(key);
  }

  /** Take what lies below an unfolded peer. */
  setChildren(key, children) {
    const entry = this.unfolded.get(key);
    if (!entry) return;
    entry.children = children;
    this.#arrange();
  }

  /**
   * The lane of a row: `{lane, depth, folded}`; `lane` is null while its page is not here yet.
   * @param {number} index
   */
  row(index) {
    if (index === 0) return { lane: this.room, depth: 0, folded: false, ordinal: -1 };
    let before = 1; // rows of unfolded children above are passed by, peer by peer
    let passed = 0;
    for (const entry of this.#order) {
      const own = before + (entry.ordinal - passed);
      if (index < own) break;
      if (index === own) return this.#peer(entry.ordinal);
      if (index <= own + entry.children.length) {
        const lane = entry.children[index - own - 1];
        return { lane, depth: lane.depth, folded: false, ordinal: entry.ordinal };
      }
      before = own + 1 + entry.children.length;
      passed = entry.ordinal + 1;
    }
    return this.#peer(passed + index - before);
  }

  /** The row of a peer, by its ordinal. */
  rowOfPeer(ordinal) {
    let row = 1 + ordinal;
    for (const entry of this.#order) if (entry.ordinal < ordinal) row += entry.children.length;
    return row;
  }

  /**
   * The row where a lane is seen: its own, or that of the folded peer that has it.
   * @param {{lane: string, owner: string, ordinal: number}} place
   */
  rowOf({ lane, owner, ordinal }) {
    if (owner === 'room') return 0;
    const row = this.rowOfPeer(ordinal);
    if (lane === owner) return row;
    const below = this.unfolded.get(owner)?.children.findIndex((child) => child.key === lane) ?? -1;
    return row + 1 + below;
  }

  /** Offsets of pages that rows need and that are not here. */
  missing(first, last) {
    const offsets = new Set();
    for (let index = Math.max(first, 1); index <= Math.min(last, this.length - 1); index += 1) {
      const { lane, ordinal } = this.row(index);
      if (!lane) offsets.add(Math.floor(ordinal / PAGE) * PAGE);
    }
    return [...offsets];
  }

  #peer(ordinal) {
    const lane = this.peers.get(ordinal) ?? null;
    return { lane, depth: 0, folded: lane !== null && !this.isUnfolded(lane.key), ordinal };
  }

  #arrange() {
    this.#order = [...this.unfolded.values()].sort((a, b) => a.ordinal - b.ordinal);
    this.#extra = this.#order.reduce((sum, entry) => sum + entry.children.length, 0);
  }
}

/** What the server calls the contents of a row: all below it while it is a folded peer. */
export const rowKey = ({ lane, folded }) => (folded && lane.kind === 'peer' ? `${lane.key}/*` : lane.key);
