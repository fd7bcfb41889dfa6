/**
 * The page's state, in all the places where it is said: `data-state` of the
 * document, the status line (a live region), the text beneath it, and the title.
 * What covers the stage, if anything does, is said in front of it.
 */
import { $, setIcon, setText } from './dom.js';

/** The icon in front of a covered stage, by state; others show a spinner. */
const ICONS = {
  idle: 'camera',
  live: 'camera-off',
  paused: 'pause',
  waiting: 'clock',
  ended: 'mark',
  error: 'alert',
};

export class Status {
  #title = $('#status');
  #detail = $('#detail');
  #countdown = $('#countdown');
  #icon = $('#front-icon');
  #curtain = $('#curtain');
  #name;
  #timer = null;

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
   * @param {object} view
   * @param {boolean} view.covered whether there is no picture to see
   * @param {string} [view.icon] another one than the state's
   */
  show(state, [title, detail], { covered, icon }) {
    document.documentElement.dataset.state = state;
    setText(this.#title, title);
    setText(this.#detail, detail);
    document.title = `${state === 'live' ? '● ' : ''}${title} · ${this.#name}`;
    const still = icon ?? ICONS[state];
    document.body.dataset.covered = covered ? (still ? 'still' : 'busy') : 'not';
    this.#curtain.hidden = !covered;
    if (still) setIcon(this.#icon, still);
  }

  /**
   * Say how long it takes until the next attempt, second by second. Not in the live region.
   * @param {number | null} until_ms in performance.now() time; null ends it
   * @param {(seconds: number) => string} say
   */
  countDown(until_ms, say) {
    clearInterval(this.#timer);
    if (until_ms === null) {
      setText(this.#countdown, '');
      return;
    }
    const tick = () => {
      const seconds = Math.max(0, Math.ceil((until_ms - performance.now()) / 1000));
      setText(this.#countdown, say(seconds));
    };
    this.#timer = setInterval(tick, 250);
    tick();
  }
}
