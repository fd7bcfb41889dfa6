/**
 * Remembers which notifications were taken, so that each counts exactly once.
 *
 * `position` is the highest one taken (that of the join answer included): what
 * `resume` tells the server. A notification is new unless the join answer already
 * covered its position, or the very same one was taken. One position may bear
 * several notifications, and they may come slightly out of order, so the recent
 * ones are compared as a whole.
 */
export class Ledger {
  #floor = -1;
  #position = -1;
  #recent = new Map();
  #capacity;

  /** @param {number} [capacity] how many recent notifications are compared */
  constructor(capacity = 2048) {
    this.#capacity = capacity;
  }

  /** The highest position taken; -1 before any. */
  get position() {
    return this.#position;
  }

  /** Begin anew at the position of a join answer: it covers all up to there. */
  reset(position) {
    this.#floor = position;
    this.#position = position;
    this.#recent.clear();
  }

  /**
   * Take a notification.
   * @returns {boolean} false when it was taken before. One without a position is always new.
   */
  take({ event, position, data }) {
    if (position === null) return true;
    if (position <= this.#floor) return false;
    const key = `${position} ${event} ${JSON.stringify(data)}`;
    if (this.#recent.has(key)) return false;
    this.#recent.set(key, position);
    if (this.#recent.size > this.#capacity) {
      const [oldest, dropped] = this.#recent.entries().next().value;
      this.#recent.delete(oldest);
      this.#floor = Math.max(this.#floor, dropped);
    }
    this.#position = Math.max(this.#position, position);
    return true;
  }
}
