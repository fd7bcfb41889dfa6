/**
 * Being on air: from the press of a button to the last goodbye. Host and meeting pages share it.
 *
 * It owns the sources and the session, and knows what was asked for (`phase`) and what went wrong
 * (`error`). Events: `change` (anything to show), `began` (the session is on),
 *   `stopped`, `note` (key of `words.notes` or an error code)
 */
import { setting } from '../core/address.js';
import { Emitter } from '../core/emitter.js';
import { isNotAllowed } from '../core/errors.js';
import { hostState, isRecovering } from '../core/states.js';
import { canSendLayers, isScalabilityMode } from '../media/scalability.js';
import { Sources } from '../media/sources.js';
import { hasWebRtc, openSession } from './common.js';

/** Why video can't be sent as the address asks for it: a key of `words.errors`, or null. */
async function refusalOf({ codec, scalability }) {
  if (scalability === undefined) return null;
  if (!isScalabilityMode(scalability)) return 'bad_scalability';
  return (await canSendLayers(codec, scalability)) ? null : 'unsupported_scalability';
}

export class OnAir extends Emitter {
  sources = new Sources();
  session = null;
  /** `idle`, `capturing`, `on` or `ended` */
  phase = 'idle';
  /** Code of what went wrong, or null. */
  error = null;
  #watch;
  #everLive = false;
  #wakeLock = null;

  /** @param {{watch: boolean}} options whether to consume what others publish */
  constructor({ watch }) {
    super();
    this.#watch = watch;
    this.sources.on('publish', (publication) => this.session?.publish(publication));
    this.sources.on('unpublish', (source) => this.session?.unpublish(source));
    this.sources.on('change', () => this.emit('change'));
    this.sources.on('note', (note) => this.emit('note', note));
  }

  /** Whether the session is on, or about to be. */
  get started() {
    return this.phase === 'on';
  }

  /** Whether nothing can be changed any more. */
  get busy() {
    return this.started || this.phase === 'capturing';
  }

  /** What the page is in: `{state, words}`. */
  state() {
    const { session, sources, phase } = this;
    if (this.error === 'media_blocked' && session?.mediaState === 'connected') this.error = null;
    const found = hostState({
      phase,
      error: this.error,
      joined: session?.joined ?? false,
      attempts: session?.attempts ?? 0,
      published: session?.published ?? false,
      mediaState: session?.mediaState ?? 'none',
      everLive: this.#everLive,
      muted: sources.muted,
      cameraOff: sources.cameraOff,
    });
    this.#everLive ||= found.state === 'live';
    return found;
  }

  /** When the next attempt to connect comes, if one is waited for. */
  get retryAt_ms() {
    return this.session && !this.session.joined ? this.session.retryAt_ms : null;
  }

  /** Open the devices, then the session with this `join` request. */
  async start(join) {
    if (this.busy) return;
    this.error = null;
    if (!hasWebRtc()) {
      this.fail('no_webrtc');
      return;
    }
    const wish = {
      codec: setting(location, 'codec') ?? 'vp8',
      scalability: setting(location, 'scalability'),
    };
    this.phase = 'capturing';
    this.emit('change');
    const refusal = await refusalOf(wish);
    if (refusal) {
      this.fail(refusal);
      return;
    }
    try {
      await this.sources.open(wish);
    } catch (failure) {
      this.fail(failure.code ?? 'capture_failed');
      return;
    }
    this.#begin(join);
  }

  #begin(join) {
    const session = openSession(join, { watch: this.#watch });
    this.session = session;
    session.on('change', () => this.emit('change'));
    session.on('refused', ({ code }) => this.fail(isNotAllowed(code) ? 'not_allowed' : code));
    session.on('problem', (code) => this.#problem(code));
    session.on('roomClosed', (reason) => isRecovering(reason) || this.stop('ended'));
    this.phase = 'on';
    this.#everLive = false;
    for (const publication of this.sources.publications) session.publish(publication);
    session.start();
    this.#keepAwake();
    this.emit('change');
    this.emit('began');
  }

  /** Let go of everything; it can be started again. */
  stop(phase) {
    this.session?.close();
    this.session = null;
    this.sources.close();
    this.#wakeLock?.release().catch(() => {});
    this.#wakeLock = null;
    this.phase = phase;
    this.emit('change');
    this.emit('stopped');
  }

  /** Stop for an error. */
  fail(code) {
    this.error = code;
    this.stop('idle');
  }

  #problem(code) {
    if (code === 'unsupported') {
      this.fail(code);
      return;
    }
    this.error = code;
    this.emit('change');
  }

  /** A phone that dims would stop its camera. */
  async #keepAwake() {
    try {
      this.#wakeLock = await navigator.wakeLock?.request('screen');
    } catch {
      this.#wakeLock = null; // low battery, or not supported: it goes on while the page is seen
    }
  }
}
