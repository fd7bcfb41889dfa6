/**
 * The host's sources: camera, microphone, screen; on, off and gone.
 *
 * Events: `publish` (publication), `unpublish` (source), `change`,
 *   `note` (key of `words.notes` or an error code)
 */
import { Emitter } from '../core/emitter.js';
import { captureCamera, captureCameraAgain, captureScreen, sendingOptions } from './capture.js';

export class Sources extends Emitter {
  #tracks = new Map();
  #wish = { codec: 'vp8' };
  #muted = false;
  #cameraOff = false;
  #busy = false;

  /** Whether the microphone is muted. */
  get muted() {
    return this.#muted;
  }

  /** Whether the camera is switched off (and its light with it). */
  get cameraOff() {
    return this.#cameraOff;
  }

  get sharing() {
    return this.#tracks.has('screen');
  }

  get hasMicrophone() {
    return this.#tracks.has('microphone');
  }

  /** Whether there is no picture at all. */
  get dark() {
    return this.#cameraOff && !this.sharing;
  }

  /** What a session has to publish. */
  get publications() {
    return [...this.#tracks.keys()].map((source) => this.#publication(source));
  }

  /** What a stage shows as the preview. */
  get tiles() {
    return ['camera', 'screen']
      .filter((source) => this.#tracks.get(source))
      .map((source) => ({ key: source, source, paused: false, track: this.#tracks.get(source) }));
  }

  /**
   * Open camera and microphone.
   * @param {import('./capture.js').Wish} wish
   * @throws {import('./capture.js').CaptureError}
   */
  async open(wish) {
    this.#wish = wish;
    const { camera, microphone } = await captureCamera();
    this.#set('camera', camera);
    if (microphone) this.#set('microphone', microphone);
    else this.emit('note', 'noMicrophone');
  }

  /** Stop all tracks. */
  close() {
    for (const track of this.#tracks.values()) track?.stop();
    this.#tracks.clear();
    this.#muted = false;
    this.#cameraOff = false;
  }

  /** Mute or unmute. */
  toggleMicrophone() {
    this.#muted = !this.#muted;
    this.emit('publish', this.#publication('microphone'));
    this.emit('change');
  }

  /** Switch the camera off for real, or on again. */
  async toggleCamera() {
    if (!this.#cameraOff) {
      this.#switchCameraOff();
      return;
    }
    await this.#alone(async () => {
      this.#cameraOff = false;
      try {
        this.#set('camera', await captureCameraAgain());
      } catch (error) {
        this.#cameraOff = true;
        throw error;
      }
    });
  }

  /** Share a screen, or stop that. */
  async toggleScreen() {
    if (this.sharing) {
      this.#stopScreen();
      return;
    }
    await this.#alone(async () => {
      const { screen, screenAudio } = await captureScreen();
      this.#set('screen', screen);
      if (screenAudio) this.#set('screenAudio', screenAudio);
    });
  }

  #switchCameraOff() {
    this.#tracks.get('camera')?.stop();
    this.#tracks.set('camera', null);
    this.#cameraOff = true;
    this.emit('publish', this.#publication('camera'));
    this.emit('change');
  }

  #stopScreen() {
    for (const source of ['screen', 'screenAudio']) {
      this.#tracks.get(source)?.stop();
      if (this.#tracks.delete(source)) this.emit('unpublish', source);
    }
    this.emit('change');
  }

  #set(source, track) {
    this.#tracks.set(source, track);
    track.addEventListener('ended', () => this.#onEnded(source, track));
    this.emit('publish', this.#publication(source));
    this.emit('change');
  }

  /** The device was unplugged, or sharing was stopped in the browser's own bar. */
  #onEnded(source, track) {
    if (this.#tracks.get(source) !== track) return;
    if (source === 'camera') {
      this.emit('note', 'cameraLost');
      this.#switchCameraOff();
    } else if (source === 'microphone') {
      this.emit('note', 'microphoneLost');
      this.#tracks.delete(source);
      this.emit('unpublish', source);
      this.emit('change');
    } else if (source === 'screen') {
      this.#stopScreen();
    }
  }

  #publication(source) {
    const paused =
      (source === 'microphone' && this.#muted) || (source === 'camera' && this.#cameraOff);
    const options = sendingOptions(source, this.#wish);
    return { source, track: this.#tracks.get(source) ?? null, paused, options };
  }

  /** One question to the user at a time; a `cancelled` one needs no words. */
  async #alone(ask) {
    if (this.#busy) return;
    this.#busy = true;
    try {
      await ask();
    } catch (error) {
      if (error.code !== 'cancelled') this.emit('note', error.code);
    } finally {
      this.#busy = false;
    }
  }
}
