/**
 * The page's state, in all the places where it is said: `data-state` of the
 * document, the status line (a live region), the text beneath it, and the title.
 */
import { $, setText } from './dom.js';

export class Status {
  #title = $('#status');
  #detail = $('#detail');
  #name;
  #countdown = null;
  #said = '';

  /** @param {string} name of the page, for the document's title */
  constructor(name) {
    this.#name = name;
  }

  /** The state shown now. */
  get state() {
    return document.documentElement.dataset.state;
  }

  /**
   * Show a state.
   * @param {string} state
   * @param {[string, string]} words title and detail
   */
  show(state, [title, detail]) {
    document.documentElement.dataset.state = state;
    setText(this.#title, title);
    this.#said = detail;
    if (!this.#countdown) setText(this.#detail, detail);
    document.title = `${state === 'live' ? '● ' : ''}${title} · ${this.#name}`;
  }

  /**
   * Add how long it takes until the next attempt, second by second.
   * @param {number | null} until_ms in performance.now() time; null ends it
   * @param {(seconds: number) => string} say
   */
  countDown(until_ms, say) {
    clearInterval(this.#countdown);
    this.#countdown = null;
    if (until_ms === null) {
      setText(this.#detail, this.#said);
      return;
    }
    const tick = () => {
      const seconds = Math.max(0, Math.ceil((until_ms - performance.now()) / 1000));
      setText(this.#detail, `${this.#said} ${say(seconds)}`.trim());
    };
    this.#countdown = setInterval(tick, 250);
    tick();
  }
}
