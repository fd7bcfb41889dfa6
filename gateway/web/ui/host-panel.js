/** Beside the preview: who watches, and how the stream leaves. */
import { Meter, totals } from '../core/stats.js';
import * as words from '../words.js';
import { $, h, setText } from './dom.js';

const TICK_MS = 1_000;
/** The list stays short; the count tells the rest. */
const NAMES_MAX = 50;

export class HostPanel {
  #viewers = $('#viewers');
  #list = $('#viewer-list');
  #quality = $('#quality');
  #clock = $('#clock');
  #shown = '';
  #liveSince_ms = null;
  #meter = new Meter();

  /** Read statistics once a second, while there is a session. */
  follow(currentSession, currentState) {
    setInterval(async () => {
      this.#renderClock(currentState());
      const report = (await currentSession()?.stats())?.send;
      if (report) this.#renderQuality(this.#meter.add(totals(report.values(), 'send')));
      else this.#meter = new Meter();
    }, TICK_MS);
  }

  /** @param {import('../session.js').Session | null} session null while not live */
  render(session, state) {
    this.#viewers.hidden = session === null;
    this.#quality.hidden = session === null;
    if (session === null) this.#liveSince_ms = null;
    else if (state === 'live') this.#liveSince_ms ??= performance.now();
    this.#renderClock(state);
    if (session) this.#renderViewers(session.roster);
  }

  #renderViewers({ viewers, viewerCount }) {
    const key = JSON.stringify([viewerCount, viewers]);
    if (key === this.#shown) return;
    this.#shown = key;
    setText($('#viewer-count'), String(viewerCount));
    setText($('#viewer-unit'), viewerCount === 1 ? 'viewer' : 'viewers');
    $('#viewers-none').hidden = viewerCount > 0;
    const rows = viewers.slice(0, NAMES_MAX).map(({ id, name }) => {
      const shown = name || `${words.labels.guest} ${id.slice(-4)}`;
      return h(
        'li.viewer',
        {},
        h('span.initial', { 'aria-hidden': 'true' }, [...shown][0].toUpperCase()),
        h('span.name', { title: shown }, shown),
      );
    });
    const more = viewerCount - rows.length;
    if (more > 0) rows.push(h('li.viewer.is-more', {}, words.more(more)));
    this.#list.replaceChildren(...rows);
  }

  #renderQuality(figures) {
    if (!figures) return;
    setText($('#bitrate'), words.bitrate(figures.bitrate_bps));
    setText($('#loss'), words.share(figures.loss));
    setText($('#round-trip'), words.roundTrip(figures.roundTrip_ms));
    setText($('#picture'), words.picture(figures));
  }

  #renderClock(state) {
    const live = this.#liveSince_ms !== null && state === 'live';
    $('#badge').hidden = !live;
    if (!live) return;
    const seconds = Math.floor((performance.now() - this.#liveSince_ms) / 1000);
    setText(this.#clock, words.duration(seconds));
  }
}
