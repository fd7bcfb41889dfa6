/**
 * Waiting times between attempts: exponential, bounded, with jitter.
 *
 * Jitter keeps a thousand viewers from returning in the same instant after a
 * server restart. The first attempt is quick, since most breaks are short.
 */
export class Backoff {
  #attempt = 0;

  /**
   * @param {object} [options]
   * @param {number} [options.first_ms] the longest first wait
   * @param {number} [options.max_ms] no wait is longer
   * @param {number} [options.factor] growth per attempt
   * @param {() => number} [options.random] in [0, 1)
   */
  constructor({ first_ms = 500, max_ms = 8_000, factor = 1.8, random = Math.random } = {}) {
    this.first_ms = first_ms;
    this.max_ms = max_ms;
    this.factor = factor;
    this.random = random;
  }

  /** How many waits were handed out since the last success. */
  get attempt() {
    return this.#attempt;
  }

  /** The next wait in milliseconds: between half of the bound and the bound. */
  next() {
    const bound = Math.min(this.max_ms, this.first_ms * this.factor ** this.#attempt);
    this.#attempt += 1;
    return Math.round(bound * (0.5 + this.random() / 2));
  }

  /** Begin again at the first wait, after a success. */
  reset() {
    this.#attempt = 0;
  }
}
