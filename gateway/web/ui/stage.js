/**
 * The stage: one tile for each stream, the most important one large, others small
 * in its corner. A tile is a video element; sound-only streams have one too, unseen.
 */
import { Emitter } from '../core/emitter.js';
import { streamOf } from '../media/receiving.js';
import { h } from './dom.js';
import { holdTracks, tryToPlay } from './playing.js';
import { Sight } from './sight.js';

/** More tiles than this would cover the picture. */
const INSETS_MAX = 3;

/**
 * Events: `playing` (pictures or sound began), `blocked` (the browser wants a tap first),
 *   `views` (how pictures are seen changed)
 */
export class Stage extends Emitter {
  #container;
  #tiles = new Map();
  #muted = true;
  #sight = new Sight();

  /** @param {HTMLElement} container gets the tiles */
  constructor(container) {
    super();
    this.#container = container;
    this.#sight.on('change', () => this.emit('views'));
  }

  /** Whether something is being played now. */
  get playing() {
    return [...this.#tiles.values()].some(({ playing }) => playing);
  }

  /** Whether there is any sound to be heard. */
  get hasSound() {
    return [...this.#tiles.values()].some(({ stream }) => stream.getAudioTracks().length > 0);
  }

  get muted() {
    return this.#muted;
  }

  /** Switch the sound of all tiles. Switching on needs a tap or key press of the user. */
  set muted(muted) {
    this.#muted = muted;
    for (const { video } of this.#tiles.values()) {
      video.muted = muted;
      if (!muted) this.#play(video);
    }
  }

  /** Try to play again, after a tap. */
  play() {
    for (const { video } of this.#tiles.values()) this.#play(video);
  }

  /**
   * Show these tracks.
   * @param {Array<{key: string, source: string, paused: boolean, track: MediaStreamTrack,
   *   id?: string}>} items tracks with one key are one stream; `id`: the producer that it comes from
   */
  show(items) {
    const groups = new Map();
    for (const item of items) groups.set(item.key, [...(groups.get(item.key) ?? []), item]);
    for (const [key, tile] of this.#tiles) {
      if (groups.has(key)) continue;
      this.#tiles.delete(key);
      this.#sight.unwatch(tile.video);
      tile.video.remove();
      tile.video.srcObject = null;
    }
    for (const [key, group] of groups) this.#update(key, group);
    this.#arrange();
  }

  /** How each picture is seen, by its producer; until it plays as if it were on the screen. */
  get views() {
    const views = new Map();
    for (const { video, playing, producer } of this.#tiles.values()) {
      if (!producer) continue;
      const { seen, height_px } = this.#sight.of(video);
      const shown = video.classList.contains('is-main') || video.classList.contains('is-inset');
      views.set(producer, { seen: !playing || (seen && shown), height_px });
    }
    return views;
  }

  #update(key, group) {
    const tile = this.#tiles.get(key) ?? this.#add(key);
    tile.screen = group.some(({ source }) => streamOf({ source }) === 'screen');
    const picture = group.find(({ track, paused }) => track.kind === 'video' && !paused);
    tile.visible = Boolean(picture);
    tile.producer = picture?.id ?? null;
    if (!holdTracks(tile.stream, group.map(({ track }) => track))) return;
    tile.playing = false;
    tile.video.srcObject = tile.stream;
    this.#play(tile.video);
  }

  #add(key) {
    const stream = new MediaStream();
    const video = h('video.tile', { muted: this.#muted, autoplay: true, playsInline: true });
    const tile = { stream, video, playing: false, screen: false, visible: false, producer: null };
    const began = () => {
      // `playing` comes before the first picture where there is sound: wait for the picture.
      const wantsPicture = tile.visible && stream.getVideoTracks().length > 0;
      if (tile.playing || video.readyState < 2 || (wantsPicture && !video.videoWidth)) return;
      tile.playing = true;
      this.#arrange();
      this.emit('playing');
    };
    for (const event of ['playing', 'loadeddata', 'resize', 'timeupdate']) {
      video.addEventListener(event, began);
    }
    this.#tiles.set(key, tile);
    this.#sight.watch(video);
    this.#container.append(video);
    return tile;
  }

  async #play(video) {
    if (!(await tryToPlay(video))) this.emit('blocked');
  }

  /** The screen is large, else the first picture; what has no picture is hidden. */
  #arrange() {
    const tiles = [...this.#tiles.values()];
    const visible = tiles.filter((tile) => tile.visible);
    const main = visible.find((tile) => tile.screen) ?? visible[0];
    const insets = visible.filter((tile) => tile !== main).slice(0, INSETS_MAX);
    for (const tile of tiles) {
      const inset = insets.indexOf(tile);
      tile.video.classList.toggle('is-screen', tile.screen);
      tile.video.classList.toggle('is-main', tile === main);
      tile.video.classList.toggle('is-inset', inset >= 0);
      tile.video.dataset.slot = inset >= 0 ? String(inset) : '';
    }
    this.emit('views');
  }
}
