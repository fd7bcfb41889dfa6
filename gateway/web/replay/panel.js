/** What is told of the event at the playhead: its sentence, its causes and effects, its neighbours. */
import { h } from '../ui/dom.js';
import { ask, Latest } from './api.js';
import { count, day, duration, shortId, timeOfDay } from './format.js';
import { ANOMALY_WORDS, CATEGORY_WORDS } from './words.js';

const LOG_ROWS = 60;

/** A row of an event, as it stands in every list. */
export function eventRow(told, { begin, current, onPick, beside }) {
  const row = h(
    'button.event-row',
    {
      type: 'button',
      dataset: { position: String(told.position), category: told.category, kind: told.kind },
      'aria-current': String(current === told.position),
    },
    h('span.mark', { 'aria-hidden': 'true' }),
    h('span.event-text', {}, told.sentence),
    h('span.event-beside', {}, beside ?? `${told.position}${begin === undefined ? '' : ` · +${duration(told.at_ns - begin)}`}`),
  );
  if (told.depth !== undefined) row.style.setProperty('--depth', Math.min(told.depth, 8));
  row.addEventListener('click', () => onPick(told.position));
  return row;
}

/** Half a sentence as a whole one. */
const sentenceOf = (said) => `${said[0].toUpperCase()}${said.slice(1)}.`;

export class Panel {
  /** @param {object} on pick(position), search(text), story(told | null), zoom(from, to) */
  constructor(elements, on) {
    Object.assign(this, { elements, on, path: '', tab: 'why', told: null });
    for (const tab of Object.keys(elements.tabs)) {
      elements.tabs[tab].addEventListener('click', () => this.choose(tab));
    }
  }

  #why = new Latest();
  #log = new Latest();
  #payload = new Latest();

  choose(tab) {
    this.tab = tab;
    for (const [name, button] of Object.entries(this.elements.tabs)) {
      button.setAttribute('aria-selected', String(name === tab));
      this.elements.views[name].hidden = name !== tab;
    }
    this.refresh();
    this.on.tab();
  }

  /** Show an event. Causes and effects are asked for when it is chosen, not while time runs. */
  show(told, { chosen, begin, name }) {
    this.told = told;
    this.chosen = chosen;
    this.begin = begin;
    const { card } = this.elements;
    card.dataset.position = String(told?.position ?? 0);
    if (!told) {
      card.replaceChildren(h('p.sentence', {}, 'Before the session begins'));
      this.elements.views.why.replaceChildren();
      return;
    }
    const meta = [
      [CATEGORY_WORDS[told.category] + (told.kind === 'event' ? ' event' : ' message'), told.type],
      ['Position', count(told.position)],
      ['Time', `${day(told.at_ns)} ${timeOfDay(told.at_ns)}`],
      ['At', name && told.owner !== 'room' ? `${name} · ${told.lane}` : told.lane],
    ];
    const request = told.correlation
      ? h('button.link', { type: 'button', title: 'Find all that came of this request' }, told.correlation)
      : null;
    request?.addEventListener('click', () => this.on.search(`request:${told.correlation}`));
    card.replaceChildren(
      h('p.sentence', { dataset: { category: told.category, kind: told.kind } }, h('span.mark', { 'aria-hidden': 'true' }), h('span', {}, told.sentence)),
      h(
        'dl.facts',
        {},
        ...meta.flatMap(([term, text]) => [h('dt', {}, term), h('dd', { title: text }, text)]),
        ...(request ? [h('dt', {}, 'Request'), h('dd', {}, request)] : []),
      ),
    );
    this.refresh();
  }

  refresh() {
    if (!this.told) return;
    if (this.chosen || this.tab === 'why') this.#showWhy();
    else this.on.story(null);
    if (this.tab === 'log') this.#showLog(this.told.position);
    if (this.tab === 'payload') this.#showPayload();
  }

  async #showWhy() {
    const { position } = this.told;
    const view = this.elements.views.why;
    try {
      const story = await this.#why.run((signal) => ask(`${this.path}/why/${position}`, {}, signal));
      if (!story) return;
      this.on.story(this.chosen ? story : null);
      this.#tellWhy(view, story);
    } catch (error) {
      view.replaceChildren(h('p.problem', {}, error.message));
    }
  }

  #tellWhy(view, story) {
    const begin = story.causes[0].at_ns;
    const options = { begin, current: story.position, onPick: this.on.pick };
    const parts = [
      h('h2.view-head', {}, 'Causes', h('span.muted', {}, story.causes.length === 1 ? 'it began here' : `${story.causes.length} steps`)),
      h('div.chain', {}, ...story.causes.map((told, depth) => eventRow({ ...told, depth }, options))),
      ...(story.grounds ? [h('h2.view-head', {}, 'Grounds'), h('p.grounds', {}, sentenceOf(story.grounds))] : []),
    ];
    const known = new Set(story.causes.map((told) => told.position));
    const others = story.effects.filter((told) => !known.has(told.position));
    const total = story.effects_total - (story.effects.length - others.length);
    if (others.length) {
      const last = Math.max(...others.map((told) => told.at_ns), ...story.causes.map((told) => told.at_ns));
      const zoom = h('button.link', { type: 'button' }, last > begin ? `over ${duration(last - begin)}` : 'at once');
      zoom.addEventListener('click', () => this.on.zoom(begin, last));
      parts.push(
        h('h2.view-head', {}, 'What came of it', h('span.muted', {}, `${count(total)} more, `, zoom)),
        h('div.chain', {}, ...others.map((told) => eventRow(told, options))),
      );
      if (total > others.length) {
        parts.push(h('p.muted', {}, `The first ${others.length} are shown.`));
      }
    } else parts.push(h('p.muted.view-note', {}, 'Nothing else came of it.'));
    view.replaceChildren(...parts);
    view.dataset.position = String(story.position);
  }

  async #showLog(around) {
    const view = this.elements.views.log;
    try {
      const told = await this.#log.run((signal) => ask(`${this.path}/events`, { around, count: LOG_ROWS }, signal));
      if (!told) return;
      const options = { current: this.told.position, begin: this.begin, onPick: this.on.pick };
      const more = (label, at) => {
        const button = h('button.button.is-quiet.is-wide', { type: 'button' }, label);
        button.addEventListener('click', () => this.#showLog(at));
        return button;
      };
      const rows = told.events.map((each) => eventRow(each, options));
      const [first, last] = [told.events[0]?.position ?? 1, told.events.at(-1)?.position ?? 1];
      view.replaceChildren(
        ...(first > 1 ? [more('Earlier', Math.max(1, first - LOG_ROWS / 2))] : []),
        ...rows,
        ...(told.events.length >= LOG_ROWS / 2 ? [more('Later', last + LOG_ROWS / 2)] : []),
      );
      view.querySelector('[aria-current="true"]')?.scrollIntoView({ block: 'center' });
    } catch (error) {
      view.replaceChildren(h('p.problem', {}, error.message));
    }
  }

  async #showPayload() {
    const { payload } = this.elements;
    try {
      const told = await this.#payload.run((signal) => ask(`${this.path}/event/${this.told.position}`, {}, signal));
      if (told) payload.textContent = JSON.stringify(told.data, null, 2);
    } catch (error) {
      payload.textContent = error.message;
    }
  }
}

/** The list of anomalies that drops down. */
export async function fillAnomalies(root, path, { begin, current, onPick }) {
  const told = await ask(`${path}/anomalies`, { after: 0, limit: 300 });
  const rows = told.anomalies.map((each) =>
    eventRow(each, {
      current,
      onPick,
      beside: `${ANOMALY_WORDS[each.anomaly] ?? each.anomaly} · +${duration(each.at_ns - begin)}`,
    }),
  );
  const more = told.total > rows.length ? [h('p.muted', {}, `and ${count(told.total - rows.length)} later ones`)] : [];
  root.replaceChildren(...(rows.length ? rows : [h('p.muted', {}, 'Nothing odd happened.')]), ...more);
}

/** What a lane of a search result is called. */
export const laneTitle = (lane) => `${lane.name || shortId(lane.owner)} · ${lane.key}`;
