/** The search box and what it finds. */
import { h } from '../ui/dom.js';
import { ask, Latest } from './api.js';
import { count } from './format.js';
import { eventRow, laneTitle } from './panel.js';

const WAIT_MS = 250;

export class Searching {
  /** @param {object} on pick(position), lane(found), changed() */
  constructor({ form, input, results }, on) {
    Object.assign(this, { form, input, results, on, path: '', begin: 0 });
    let timer = 0;
    input.addEventListener('input', () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.look(), WAIT_MS);
    });
    input.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') {
        this.close();
        input.blur();
      } else if (event.key === 'ArrowDown') this.results.querySelector('button')?.focus();
      else return;
      event.preventDefault();
    });
    results.addEventListener('keydown', (event) => {
      const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
      if (event.key === 'Escape') this.close();
      else if (step) (document.activeElement[step] ?? input).focus();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      clearTimeout(timer);
      this.look();
    });
    document.addEventListener('pointerdown', (event) => !form.contains(event.target) && this.close());
  }

  #latest = new Latest();

  close() {
    this.results.hidden = true;
  }

  /** Look for a text as if it was typed. */
  async find(text) {
    this.input.value = text;
    this.input.focus();
    await this.look();
  }

  async look(after = 0) {
    const text = this.input.value.trim();
    this.on.changed();
    if (!text) {
      this.close();
      return;
    }
    this.results.hidden = false;
    if (!after) this.results.replaceChildren(h('p.muted', {}, 'Looking…'));
    try {
      const told = await this.#latest.run((signal) => ask(`${this.path}/search`, { q: text, after }, signal));
      if (told) this.#show(told, after);
    } catch (error) {
      this.results.replaceChildren(h('p.problem', {}, error.message));
    }
  }

  #show(told, after) {
    const lanes = told.lanes.map((lane) => {
      const row = h('button.event-row.is-lane', { type: 'button', dataset: { kind: lane.kind } }, h('span.event-text', {}, laneTitle(lane)));
      row.addEventListener('click', () => {
        this.close();
        this.on.lane(lane);
      });
      return row;
    });
    const rows = told.events.map((each) =>
      eventRow(each, {
        begin: this.begin,
        onPick: (position) => {
          this.close();
          this.on.pick(position);
        },
      }),
    );
    const done = told.searched_to >= told.end || told.events.length === 0 && told.total !== null;
    const foot = done
      ? h('p.muted', {}, told.total !== null ? `${count(told.total)} in all` : rows.length + lanes.length || after ? 'That is all.' : 'Nothing found.')
      : h('button.button.is-quiet.is-wide', { type: 'button' }, `Look on from position ${count(told.searched_to)}`);
    if (!done) foot.addEventListener('click', () => this.look(told.searched_to));
    const before = after ? [...this.results.querySelectorAll('.event-row')] : [];
    this.results.replaceChildren(...before, ...lanes, ...rows, foot);
    this.results.dataset.found = String(before.length + lanes.length + rows.length);
    if (!rows.length && !lanes.length && !done && told.searched_to < told.end) this.look(told.searched_to);
  }
}
