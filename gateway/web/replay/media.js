/** How well media came in the time that is seen: quality of viewers, their streams, recordings. */
import { h } from '../ui/dom.js';
import { ask, fetchFile, Latest } from './api.js';
import { count, duration, share, shortId, written } from './format.js';

/** From which score on a viewer was served well, or at least bearably. */
const GOOD = 90;
const FAIR = 70;

const RECORDING_WORDS = {
  ice_lost: 'ICE lost',
  consumer_frozen: 'Consumer frozen',
  keyframe_storm: 'Keyframe storm',
  publisher_silent: 'Publisher silent',
  operator: 'Asked for by an operator',
};

const grade = (score) => (score === null ? 'none' : score >= GOOD ? 'good' : score >= FAIR ? 'fair' : 'poor');

function badge(quality) {
  if (!quality) return h('span.quality', { dataset: { grade: 'none' }, title: 'It watches nothing' }, 'sends');
  const text = quality.score === null ? '–' : String(Math.round(quality.score));
  return h('span.quality', { dataset: { grade: grade(quality.score) }, title: 'Quality as a viewer, 0 to 100' }, text);
}

function summary(quality) {
  if (!quality) return '';
  const parts = [written(quality.bitrate_bps, 'bps')];
  if (quality.freezes || quality.frozen_s) parts.push(`${quality.freezes} freezes, ${quality.frozen_s} s`);
  if (quality.round_trip_time_ms !== null) parts.push(`${written(quality.round_trip_time_ms, 'ms')} round trip`);
  return parts.join(' · ');
}

function streamRow(stream, onPick) {
  const [sort, id] = stream.lane.split('/');
  const layer = stream.encoding ? ` #${stream.encoding}` : '';
  const row = h(
    'button.stream-row',
    { type: 'button', dataset: { lane: stream.lane }, title: `${sort} ${id}: show its charts` },
    h('span.stream-name', {}, h('b', {}, `${sort === 'producer' ? '↑' : '↓'} ${stream.about || sort}${layer}`), h('span.mono', {}, shortId(id))),
    ...[
      ['bitrate', written(stream.bitrate_bps, 'bps')],
      ['lost', stream.loss === null ? '–' : share(stream.loss)],
      ['jitter', stream.jitter_ms === null ? '–' : written(stream.jitter_ms, 'ms')],
      ['frozen', stream.frozen_s === null ? '–' : `${stream.frozen_s} s`],
    ].map(([name, text]) =>
      h('span.stream-value', { dataset: { bad: String((name === 'lost' && stream.loss > 0.02) || (name === 'frozen' && stream.frozen_s > 0)) } }, h('i', {}, name), text),
    ),
  );
  row.addEventListener('click', () => onPick(stream.lane));
  return row;
}

export class Media {
  #latest = new Latest();

  /** @param {object} on pick(position), lane(key), failed(error) */
  constructor(root, on) {
    Object.assign(this, { root, on, path: '', begin: 0, shown: false });
  }

  /** Ask for what is seen; of all peers of a session, or of those that some lanes belong to. */
  async load({ session, lanes, from, to }) {
    if (!this.shown) return;
    const parameters = { session, from, to, lanes: lanes.join(',') };
    const told = await this.#latest.run((signal) => ask(`${this.path}/media`, parameters, signal));
    if (!told) return;
    const peers = told.peers.map((peer) =>
      h(
        'section.served',
        { dataset: { lane: peer.lane } },
        h('header.served-head', {}, badge(peer.quality), h('b', {}, peer.name || peer.lane.split('/')[1]), h('span.muted', {}, summary(peer.quality))),
        ...peer.streams.map((stream) => streamRow(stream, this.on.lane)),
      ),
    );
    const more = told.total - told.peers.length;
    this.root.replaceChildren(
      h('h2.view-head', {}, 'How well it came', h('span.muted', {}, lanes.length ? 'chosen, in what is seen' : 'in what is seen')),
      ...(told.problem ? [h('p.muted.view-note', {}, told.problem)] : peers),
      ...(more > 0 && peers.length ? [h('p.muted.view-note', {}, `${count(more)} more peers: choose one in the lanes.`)] : []),
      h('h2.view-head', {}, 'Recordings', h('span.muted', {}, told.recordings.length ? 'packet headers, without addresses' : '')),
      ...(told.recordings.length ? told.recordings.map((one) => this.#recording(one)) : [h('p.muted.view-note', {}, 'None was made.')]),
    );
    this.root.dataset.loaded = 'true';
  }

  #recording(one) {
    const place = h(
      'button.link',
      { type: 'button', title: `Go to position ${one.position}` },
      RECORDING_WORDS[one.reason] ?? one.reason,
    );
    place.addEventListener('click', () => this.on.pick(one.position));
    const save = h('button.button.is-quiet.is-small', { type: 'button', title: 'For Wireshark' }, 'pcapng');
    save.addEventListener('click', () => this.#save(one).catch(this.on.failed));
    return h(
      'div.recording-row',
      { dataset: { position: String(one.position) } },
      h('span.recording-text', {}, place, h('span.muted', {}, ` ${shortId(one.transport)} · ${one.position} · +${duration(one.at_ns - this.begin)}`)),
      save,
    );
  }

  async #save(one) {
    const file = await fetchFile(`${this.path}/recording/${one.position}/${encodeURIComponent(one.transport)}`);
    const address = URL.createObjectURL(file);
    h('a', { href: address, download: `${one.transport}-${one.position}.pcapng` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }
}
