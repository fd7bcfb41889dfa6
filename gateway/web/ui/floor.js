/**
 * The floor of a meeting: a seat for each picture, all alike in a grid, or one large and the others
 * in a strip. It knows how large each picture is on the screen, and whether it is seen at all.
 *
 * Events: `views`   how pictures are seen changed
 *         `pin`     (key) a seat was pressed
 */
import { Emitter } from '../core/emitter.js';
import { arrange, arrangeAround, priorityFor } from '../media/viewing.js';
import { labels } from '../words.js';
import { h, icon, setText } from './dom.js';
import { holdTracks, tryToPlay } from './playing.js';
import { Sight } from './sight.js';

const GAP_PX = 10;
/** Around all seats, for the ring of who is heard. */
const EDGE_PX = 3;
/** Louder than this a seat shows that it is heard, in dBov. */
const HEARD_DBOV = -50;

export class Floor extends Emitter {
  #container;
  #seats = new Map();
  #main = null;
  #sizes = new ResizeObserver(() => this.#place());
  #sight;

  /** @param {HTMLElement} container gets the seats */
  constructor(container) {
    super();
    this.#container = container;
    this.#sizes.observe(container);
    this.#sight = new Sight(container);
    this.#sight.on('change', () => this.emit('views'));
  }

  /**
   * Seat these.
   * @param {Array<{key, peer, name, self, screen, muted, video, pictured,
   *   tracks: MediaStreamTrack[]}>} seats `video`: the producer of the picture, null when there is
   *   none; `pictured`: whether it shows anything now
   * @param {string | null} main key of the large one; null for a grid
   */
  show(seats, main) {
    const wanted = new Set(seats.map(({ key }) => key));
    for (const [key, seat] of this.#seats) if (!wanted.has(key)) this.#remove(key, seat);
    for (const info of seats) this.#update(this.#seats.get(info.key) ?? this.#add(info), info);
    this.#main = wanted.has(main) ? main : null;
    this.#place();
  }

  /** Show who is heard: `{peer, level}` in dBov. */
  hear(levels) {
    const heard = new Set(levels.filter(({ level }) => level > HEARD_DBOV).map(({ peer }) => peer));
    for (const { element, info } of this.#seats.values()) {
      element.classList.toggle('is-heard', heard.has(info.peer) && !info.screen);
    }
  }

  /** How each picture is seen, by its producer. */
  get views() {
    const views = new Map();
    for (const [key, { video, info }] of this.#seats) {
      if (info.self || !info.video) continue;
      const large = key === this.#main && this.#seats.size > 1;
      const priority = priorityFor(large, info.screen);
      views.set(info.video, { ...this.#sight.of(video), priority });
    }
    return views;
  }

  #add(info) {
    const video = h('video', { autoplay: true, playsInline: true, muted: info.self });
    const name = h('span.seat-name');
    const muted = h('span.seat-muted', { title: labels.isMuted }, icon('microphone-off'));
    const initial = h('span.seat-initial', { 'aria-hidden': 'true' });
    const label = h('span.seat-label', {}, muted, name);
    const element = h('button.seat', { type: 'button' }, video, initial, label);
    element.addEventListener('click', () => this.emit('pin', info.key));
    const seat = { element, video, name, muted, initial, stream: new MediaStream(), info };
    video.srcObject = seat.stream;
    this.#seats.set(info.key, seat);
    this.#container.append(element);
    this.#sight.watch(video);
    return seat;
  }

  #remove(key, seat) {
    this.#seats.delete(key);
    this.#sight.unwatch(seat.video);
    seat.element.remove();
    seat.video.srcObject = null;
  }

  #update(seat, info) {
    seat.info = info;
    const { element, stream } = seat;
    element.classList.toggle('is-self', info.self);
    element.classList.toggle('is-screen', info.screen);
    element.classList.toggle('is-dark', !info.pictured);
    element.dataset.peer = info.peer;
    seat.muted.hidden = !info.muted;
    setText(seat.name, info.name);
    setText(seat.initial, [...info.name][0]?.toUpperCase() ?? '');
    // Whoever is in the meeting has pressed a button: the browser lets them play.
    if (holdTracks(stream, info.tracks)) tryToPlay(seat.video);
  }

  /** Give each seat its size; the styles do the rest. */
  #place() {
    const width = this.#container.clientWidth - 2 * EDGE_PX;
    const height = this.#container.clientHeight - 2 * EDGE_PX;
    const count = this.#seats.size;
    const large = this.#seats.has(this.#main) && count > 1;
    const { width_px, main_px } = large
      ? arrangeAround(count - 1, width, height, GAP_PX)
      : arrange(count, width, height, GAP_PX);
    this.#container.dataset.layout = large ? 'spotlight' : 'grid';
    this.#container.style.setProperty('--seat', `${width_px}px`);
    this.#container.style.setProperty('--main', `${main_px ?? 0}px`);
    for (const [key, { element }] of this.#seats) {
      element.classList.toggle('is-main', large && key === this.#main);
    }
    this.emit('views');
  }
}
