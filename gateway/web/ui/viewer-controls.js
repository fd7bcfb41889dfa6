/** What a viewer can press: sound and full screen, by pointer, key `m` and key `f`. */
import { labels, viewer as texts } from '../words.js';
import { $, setText, setToggle } from './dom.js';

export class ViewerControls {
  #stage;
  #figure = $('#stage');
  #tap = $('#tap');
  #sound = $('#sound');
  #fullScreen = $('#full-screen');
  #blocked = false;

  /** @param {import('./stage.js').Stage} stage */
  constructor(stage) {
    this.#stage = stage;
    stage.on('blocked', () => {
      this.#blocked = true;
      this.render();
    });
    stage.on('playing', () => {
      this.#blocked = false;
      this.render();
    });
    this.#tap.addEventListener('click', () => this.#setSound(true));
    this.#sound.addEventListener('click', () => this.#setSound(stage.muted));
    this.#fullScreen.addEventListener('click', () => this.#toggleFullScreen());
    $('#tiles').addEventListener('dblclick', () => this.#toggleFullScreen());
    document.addEventListener('fullscreenchange', () => this.#renderFullScreen());
    document.addEventListener('keydown', (event) => this.#onKey(event));
    this.#fullScreen.hidden = !document.fullscreenEnabled;
    this.#renderFullScreen();
  }

  /** Show what can be pressed now. */
  render() {
    const { muted, hasSound, playing } = this.#stage;
    this.#tap.hidden = !(this.#blocked || (muted && hasSound && playing));
    setText($('.label', this.#tap), this.#blocked ? texts.tapToPlay : texts.tapForSound);
    this.#sound.hidden = !hasSound;
    setToggle(this.#sound, {
      on: !muted,
      label: muted ? labels.soundOn : labels.soundOff,
      icon: muted ? 'sound-off' : 'sound',
    });
  }

  #setSound(on) {
    this.#stage.muted = !on;
    this.#stage.play();
    if (document.activeElement === this.#tap) this.#sound.focus();
    this.render();
  }

  #renderFullScreen() {
    const on = document.fullscreenElement !== null;
    setToggle(this.#fullScreen, {
      on,
      label: on ? labels.leaveFullScreen : labels.fullScreen,
      icon: on ? 'full-screen-exit' : 'full-screen',
    });
  }

  #toggleFullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.#figure.requestFullscreen?.().catch(() => {});
  }

  #onKey({ key, target, ctrlKey, metaKey, altKey }) {
    if (ctrlKey || metaKey || altKey || target.closest('input, textarea')) return;
    if (key === 'm') this.#setSound(this.#stage.muted);
    if (key === 'f') this.#toggleFullScreen();
  }
}
