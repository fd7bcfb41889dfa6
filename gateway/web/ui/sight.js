/**
 * How pictures are seen: how large each is on the screen, and whether any of it is on it at all.
 *
 * Events: `change` what `of` answers may have changed
 */
import { Emitter } from '../core/emitter.js';
import { shownHeight } from '../media/viewing.js';

export class Sight extends Emitter {
  #onScreen = new Map();
  #sizes = new ResizeObserver(() => this.emit('change'));
  #crossings;

  /** @param {HTMLElement | null} root what scrolls the pictures; null: the window */
  constructor(root = null) {
    super();
    this.#crossings = new IntersectionObserver((entries) => this.#onCrossed(entries), { root });
    for (const event of ['visibilitychange', 'enterpictureinpicture', 'leavepictureinpicture']) {
      document.addEventListener(event, () => this.emit('change'), true);
    }
  }

  /** Watch a picture. Until the browser has looked it counts as being on the screen. */
  watch(video) {
    this.#onScreen.set(video, true);
    this.#crossings.observe(video);
    this.#sizes.observe(video);
    video.addEventListener('resize', () => this.emit('change')); // of the picture in it
  }

  /** Watch it no longer. */
  unwatch(video) {
    this.#onScreen.delete(video);
    this.#crossings.unobserve(video);
    this.#sizes.unobserve(video);
  }

  /** @returns {import('../media/viewing.js').View} of a picture that is watched */
  of(video) {
    const apart = document.pictureInPictureElement === video;
    const seen = apart || (!document.hidden && this.#onScreen.get(video) === true);
    const box = { width: video.clientWidth, height: video.clientHeight };
    const picture = { width: video.videoWidth, height: video.videoHeight };
    const covers = getComputedStyle(video).objectFit === 'cover';
    return { seen, height_px: shownHeight(box, picture, { covers, density: devicePixelRatio }) };
  }

  #onCrossed(entries) {
    for (const { target, isIntersecting } of entries) {
      if (this.#onScreen.has(target)) this.#onScreen.set(target, isIntersecting);
    }
    this.emit('change');
  }
}
