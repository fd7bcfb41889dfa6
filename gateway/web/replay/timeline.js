/**
 * The timeline: rows of lanes on a canvas with labels beside them. It asks the server for what is
 * in sight, and for no more; while it waits, what it has is stretched.
 */
import { h } from '../ui/dom.js';
import { ask, Latest } from './api.js';
import { prepared, theme } from './canvas.js';
import { PAGE, rowKey } from './lane-list.js';
import { nearest, stacked } from './marks.js';
import { paintArrow, paintDensity, paintGrid, paintLife, paintMark, paintPlayhead, ROW } from './paint.js';
import { CATEGORIES, laneWords } from './words.js';

const MARKS_MAX = 1_000;
const LOAD_WAIT_MS = 60;
const DRAG_MIN = 4;

export class Timeline {
  /**
   * @param {object} elements lanes, space, view, labels, stage
   * @param {import('./axis.js').Axis} axis
   * @param {import('./lane-list.js').LaneList} list
   * @param {object} on what happens: pick(position), seek(time), moved(), unfold(), choose(lane), hover(mark, x, y)
   */
  constructor(elements, axis, list, on) {
    Object.assign(this, { elements, axis, list, on });
    this.path = '';
    this.session = 0;
    this.live = false;
    this.time = null;
    this.story = null;
    this.lane = null;
    this.density = { scale: null, rows: new Map(), keys: new Set() };
    this.marks = { from: 0, to: 0, rows: new Map() };
    this.drawn = [];
    this.#listen();
    new ResizeObserver(() => this.resized()).observe(elements.lanes);
  }

  #latest = new Latest();
  #frame = 0;
  #timer = 0;
  #pages = new Set();

  /** The first and the last row in sight. */
  get inSight() {
    const { scrollTop, clientHeight } = this.elements.lanes;
    const first = Math.floor(scrollTop / ROW);
    return [first, Math.min(Math.ceil((scrollTop + clientHeight) / ROW), this.list.length - 1)];
  }

  resized() {
    this.axis.width = Math.max(this.elements.stage.clientWidth, 1);
    this.refresh();
  }

  /** Draw soon, and ask for what is not here. */
  refresh() {
    this.draw();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#load(), LOAD_WAIT_MS);
  }

  draw() {
    if (!this.#frame) {
      this.#frame = requestAnimationFrame(() => {
        this.#frame = 0;
        this.#paint();
        this.on.moved();
      });
    }
  }

  /** Scroll so that a row is seen. */
  revealRow(row) {
    const { lanes } = this.elements;
    const y = row * ROW;
    if (y < lanes.scrollTop) lanes.scrollTop = Math.max(0, y - ROW);
    else if (y + ROW > lanes.scrollTop + lanes.clientHeight) lanes.scrollTop = y + 2 * ROW - lanes.clientHeight;
  }

  // Asking.

  async #load() {
    if (!this.path) return;
    const [first, last] = this.inSight;
    this.list.missing(first, last).forEach((offset) => this.loadPage(offset));
    const rows = [];
    for (let index = first; index <= last; index += 1) {
      const row = this.list.row(index);
      if (row.lane) rows.push(row);
    }
    const keys = rows.slice(0, 110).map(rowKey);
    const margin = this.axis.span * 0.25;
    const from = Math.max(this.axis.from - margin, this.axis.begin);
    const to = Math.min(this.axis.to + margin, this.axis.end) + 1e6;
    const share = (to - from) / this.axis.span;
    const buckets = Math.max(20, Math.round((this.axis.width / 3.5) * share));
    try {
      await this.#latest.run(async (signal) => {
        const lanes = keys.join(',');
        const told = await ask(`${this.path}/density`, { lanes, from, to, buckets }, signal);
        this.#takeDensity(told, keys);
        const total = [...this.density.rows.values()].reduce((sum, row) => sum + row.sum, 0);
        if (total > MARKS_MAX) return;
        const found = await ask(`${this.path}/events`, { lanes, from, to }, signal);
        if (!found.too_many) this.#takeMarks(found.marks, from, to);
      });
      this.elements.lanes.dataset.loaded = String(Math.round(this.axis.span / 1e6));
    } catch (error) {
      this.on.failed(error);
    }
  }

  async loadPage(offset) {
    if (this.#pages.has(offset)) return;
    this.#pages.add(offset);
    try {
      const page = await ask(`${this.path}/lanes`, { session: this.session, offset, limit: PAGE });
      this.list.take(page);
      this.refresh();
    } catch (error) {
      this.on.failed(error);
    } finally {
      this.#pages.delete(offset);
    }
  }

  #takeDensity(told, keys) {
    const rows = new Map();
    let most = 1;
    for (const key of keys) {
      const buckets = stacked(told.lanes[key] ?? {}, CATEGORIES);
      let sum = 0;
      for (const { total } of buckets.values()) {
        sum += total;
        most = Math.max(most, total);
      }
      rows.set(key, { buckets, sum });
    }
    this.density = { scale: { ...told, most }, rows };
    this.draw();
  }

  #takeMarks(marks, from, to) {
    const rows = new Map();
    for (const [position, time, category, key, kind, type] of marks) {
      if (!rows.has(key)) rows.set(key, []);
      rows.get(key).push({ position, time, category: this.categories[category], kind, type });
    }
    this.marks = { from, to, rows };
    this.draw();
  }

  // Drawing.

  #paint() {
    const { lanes, space, stage, view } = this.elements;
    view.style.height = `${lanes.clientHeight}px`;
    space.style.height = `${this.list.length * ROW}px`;
    const [first, last] = this.inSight;
    const shift = first * ROW - lanes.scrollTop;
    const { context, width, height } = prepared(stage);
    this.axis.width = width;
    const { axis } = this;
    paintGrid(context, axis, axis.ticks(), height);
    this.drawn = [];
    const dimmed = this.story ? 0.3 : 1;
    const showMarks = this.marks.from <= Math.max(axis.from, axis.begin) && this.marks.to >= Math.min(axis.to, axis.end);
    for (let index = first; index <= last; index += 1) {
      const row = this.list.row(index);
      const y = shift + (index - first) * ROW;
      if (!row.lane) continue;
      if (this.lane && row.lane.key === this.lane) {
        context.globalAlpha = 0.07;
        context.fillStyle = theme().ink;
        context.fillRect(0, y, width, ROW);
        context.globalAlpha = 1;
      }
      paintLife(context, axis, row.lane, y, this.live);
      const key = rowKey(row);
      const marks = showMarks && this.marks.rows.get(key);
      const density = this.density.rows.get(key);
      context.globalAlpha = dimmed;
      if (marks && (!density || density.sum <= MARKS_MAX)) this.#paintMarks(context, marks, y + ROW / 2);
      else if (density) paintDensity(context, axis, density.buckets, this.density.scale, y);
      context.globalAlpha = 1;
    }
    if (this.time !== null) paintPlayhead(context, axis.x(this.time), height);
    if (this.story) this.#paintStory(context, shift - first * ROW);
    this.#label(first, last, shift);
  }

  #paintMarks(context, marks, y) {
    let before = -10;
    let stack = 0;
    for (const mark of marks) {
      const x = this.axis.x(mark.time);
      if (x < -6 || x > this.axis.width + 6) continue;
      stack = x - before < 3 ? stack + 1 : 0; // what happened at one instant fans out
      if (!stack) before = x;
      const place = { ...mark, x: stack ? before + Math.min(stack, 4) * 3.5 : x, y };
      paintMark(context, place.x, y, place);
      this.drawn.push(place);
    }
  }

  #paintStory(context, top) {
    const colours = theme();
    const places = new Map();
    const { causes, effects, position } = this.story;
    for (const told of [...causes, ...effects]) {
      if (places.has(told.position)) continue;
      const y = top + this.list.rowOf(told) * ROW + ROW / 2;
      const drawn = this.drawn.find((mark) => mark.position === told.position);
      places.set(told.position, { ...told, x: drawn?.x ?? this.axis.x(told.at_ns), y });
    }
    const before = new Set(causes.map((told) => told.position));
    for (const place of places.values()) {
      const cause = places.get(place.cause);
      if (cause) paintArrow(context, cause, place, before.has(place.position) ? colours.accent : colours.ink);
    }
    for (const place of places.values()) paintMark(context, place.x, place.y, place, 1.15);
    const chosen = places.get(position);
    if (chosen) {
      context.strokeStyle = colours.accent;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(chosen.x, chosen.y, 9, 0, Math.PI * 2);
      context.stroke();
    }
    for (const place of places.values()) if (!this.drawn.some((m) => m.position === place.position)) this.drawn.push(place);
  }

  #label(first, last, shift) {
    const { labels } = this.elements;
    const wanted = [];
    for (let index = first; index <= last; index += 1) {
      const { lane, depth, ordinal } = this.list.row(index);
      wanted.push({ index, lane, depth, ordinal, unfolded: lane ? this.list.isUnfolded(lane.key) : false });
    }
    const said = wanted.map(({ index, lane, unfolded }) => `${index}${lane?.key}${unfolded}${lane?.name}`).join() + this.lane;
    labels.style.transform = `translateY(${shift}px)`;
    if (labels.dataset.said === said) return;
    labels.dataset.said = said;
    const focused = document.activeElement?.closest?.('.lane-label')?.dataset.key;
    labels.replaceChildren(...wanted.map((row) => this.#labelOf(row)));
    if (focused) labels.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  #labelOf({ index, lane, depth, ordinal, unfolded }) {
    if (!lane) return h('div.lane-label.is-waiting', { 'aria-hidden': 'true' });
    const { name, note } = laneWords(lane);
    const foldable = lane.kind === 'peer';
    const label = h(
      'div.lane-label',
      {
        role: 'treeitem',
        tabIndex: index === 0 ? 0 : -1,
        title: note ? `${name} · ${note}` : name,
        dataset: { key: lane.key, kind: lane.kind, depth: String(depth) },
        'aria-level': String(depth + 1 + (lane.kind === 'room' ? 0 : 1)),
        'aria-selected': String(this.lane === lane.key),
        ...(foldable ? { 'aria-expanded': String(unfolded) } : {}),
      },
      h('span.twist', { 'aria-hidden': 'true' }, foldable ? '›' : ''),
      h('span.dot', { 'aria-hidden': 'true' }),
      h('span.lane-name', {}, name),
      h('span.lane-note', {}, note),
    );
    label.addEventListener('click', () => {
      if (foldable) this.toggle(lane.key, ordinal);
      this.on.choose(lane);
    });
    label.addEventListener('keydown', (event) => this.#labelKey(event, lane, ordinal, unfolded));
    return label;
  }

  #labelKey(event, lane, ordinal, unfolded) {
    const { key } = event;
    const next = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[key];
    if (next) event.currentTarget[next]?.focus();
    else if (key === 'Enter') event.currentTarget.click();
    else if (lane.kind === 'peer' && ((key === 'ArrowRight' && !unfolded) || (key === 'ArrowLeft' && unfolded))) {
      this.toggle(lane.key, ordinal);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Unfold or fold a peer. */
  async toggle(key, ordinal, unfold = !this.list.isUnfolded(key)) {
    if (!unfold) this.list.fold(key);
    else this.list.unfold(key, ordinal);
    this.on.unfolded();
    this.refresh();
    if (unfold) await this.loadChildren([key]);
  }

  async loadChildren(keys) {
    if (!keys.length) return;
    try {
      const told = await ask(`${this.path}/lanes`, { lane: keys.join(',') });
      for (const [key, children] of Object.entries(told)) this.list.setChildren(key, children);
      this.on.unfolded();
      this.refresh();
    } catch (error) {
      this.on.failed(error);
    }
  }

  // Hands.

  #listen() {
    const { lanes, stage } = this.elements;
    lanes.addEventListener('scroll', () => this.refresh(), { passive: true });
    lanes.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
    let drag = null;
    stage.addEventListener('pointerdown', (event) => {
      if (event.button !== 0 || event.pointerType === 'touch') return;
      drag = { x: event.offsetX, y: event.clientY, moved: false, top: lanes.scrollTop };
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener('pointermove', (event) => {
      if (!drag) {
        this.#hover(event);
        return;
      }
      const dx = event.offsetX - drag.x;
      if (!drag.moved && Math.hypot(dx, event.clientY - drag.y) < DRAG_MIN) return;
      drag.moved = true;
      drag.x = event.offsetX;
      this.axis.pan(-dx);
      lanes.scrollTop = drag.top - (event.clientY - drag.y);
      this.on.hover(null);
      this.on.grabbed();
      this.refresh();
    });
    const drop = () => (drag = null);
    stage.addEventListener('pointerup', (event) => {
      if (drag && !drag.moved) this.#click(event);
      drop();
    });
    stage.addEventListener('pointercancel', drop);
    stage.addEventListener('click', (event) => event.pointerType === 'touch' && this.#click(event));
    stage.addEventListener('pointerleave', () => this.on.hover(null));
    stage.addEventListener('dblclick', (event) => {
      this.axis.zoom(0.35, event.offsetX);
      this.refresh();
    });
  }

  /** Zoom with a modifier or over time itself, pan sideways; plain wheels scroll the lanes. */
  wheel(event, always = false) {
    const zooms = event.ctrlKey || event.metaKey || always;
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
    if (!zooms && !sideways) return;
    event.preventDefault();
    this.on.grabbed();
    if (sideways && !event.ctrlKey) this.axis.pan(event.deltaX || event.deltaY);
    else this.axis.zoom(Math.exp(Math.max(-80, Math.min(80, event.deltaY)) * 0.006), this.#x(event));
    this.refresh();
  }

  #x(event) {
    return event.clientX - this.elements.stage.getBoundingClientRect().left;
  }

  #hover(event) {
    const mark = nearest(this.drawn, event.offsetX, event.offsetY);
    this.elements.stage.classList.toggle('is-over', mark !== null);
    this.on.hover(mark, event.clientX, event.clientY);
  }

  #click(event) {
    const mark = nearest(this.drawn, event.offsetX, event.offsetY, 14);
    if (mark) this.on.pick(mark.position);
    else this.on.seek(this.axis.time(event.offsetX), this.#laneAt(event.offsetY));
  }

  #laneAt(y) {
    const index = Math.floor((this.elements.lanes.scrollTop + y) / ROW);
    return index < this.list.length ? this.list.row(index).lane : null;
  }
}
