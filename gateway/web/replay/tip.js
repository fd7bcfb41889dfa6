/** The plain sentence of the event under the pointer. */
import { h } from '../ui/dom.js';
import { ask, Latest } from './api.js';
import { timeOfDay } from './format.js';

const KEPT_MAX = 500;

export class Tip {
  constructor(element, path) {
    Object.assign(this, { element, path });
  }

  #latest = new Latest();
  #known = new Map();
  #position = null;

  /** Tell of a mark beside a place of the window; null: of none. */
  async show(mark, x, y) {
    if (!mark) {
      this.#position = null;
      this.element.hidden = true;
      return;
    }
    this.#move(x, y);
    if (mark.position === this.#position) return;
    this.#position = mark.position;
    let told = this.#known.get(mark.position);
    if (!told) {
      this.#fill({ sentence: mark.sentence ?? mark.type, ...mark, at_ns: mark.at_ns ?? mark.time });
      try {
        told = await this.#latest.run((signal) => ask(`${this.path}/event/${mark.position}`, {}, signal));
      } catch {
        return; // the type alone has been told
      }
      if (!told) return;
      if (this.#known.size > KEPT_MAX) this.#known.clear();
      this.#known.set(mark.position, told);
    }
    if (this.#position === mark.position) this.#fill(told);
  }

  #fill({ sentence, type, position, at_ns: at }) {
    this.element.replaceChildren(h('b', {}, sentence), h('span', {}, `${type} · ${position} · ${timeOfDay(at)}`));
    this.element.hidden = false;
  }

  #move(x, y) {
    const { style } = this.element;
    const right = x > innerWidth - 340;
    style.left = right ? 'auto' : `${x + 14}px`;
    style.right = right ? `${innerWidth - x + 14}px` : 'auto';
    style.top = `${Math.min(y + 16, innerHeight - 90)}px`;
  }
}
