/**
 * The view as the page's fragment says it, so that a link brings a colleague to the very same one.
 * Pure.
 *
 *     #p=1234&z=12.5-80.25&s=1&l=consumer/c_x&o=peer/p_a,peer/p_b&t=state&n=0
 *
 * p position, z seen stretch in seconds since the session's beginning, s whether the event there is
 * selected, l chosen lane, o unfolded peers, t tab, n number of the session, f follows on.
 */

const OPEN_MAX = 40;
const TABS = ['why', 'state', 'media', 'log', 'payload'];

/** @returns {object} what the fragment says; what it does not say or says wrongly is absent */
export function readView(hash) {
  const said = new URLSearchParams(hash.replace(/^#/, ''));
  const view = {};
  const position = Number(said.get('p'));
  if (said.has('p') && Number.isSafeInteger(position) && position >= 0) view.position = position;
  const [, from, to] = /^(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)$/.exec(said.get('z') ?? '') ?? [];
  if (from !== undefined && Number(to) > Number(from)) view.zoom = [Number(from), Number(to)];
  if (said.get('s') === '1') view.selected = true;
  if (said.get('l')) view.lane = said.get('l').slice(0, 200);
  if (said.get('o')) view.open = said.get('o').split(',').slice(0, OPEN_MAX);
  if (TABS.includes(said.get('t'))) view.tab = said.get('t');
  const session = Number(said.get('n'));
  if (said.has('n') && Number.isSafeInteger(session) && session >= 0) view.session = session;
  if (said.get('f') === '1') view.follow = true;
  if (said.get('q')) view.query = said.get('q').slice(0, 300);
  return view;
}

/** The fragment of a view, `#` included. */
export function writeView(view) {
  const parts = [];
  const add = (name, value) => parts.push(`${name}=${value}`);
  if (view.position !== undefined) add('p', view.position);
  if (view.zoom) add('z', view.zoom.map((s) => Number(s.toFixed(6))).join('-'));
  if (view.selected) add('s', 1);
  if (view.lane) add('l', encode(view.lane));
  if (view.open?.length) add('o', view.open.slice(0, OPEN_MAX).map(encode).join(','));
  if (view.tab && view.tab !== 'why') add('t', view.tab);
  if (view.session !== undefined) add('n', view.session);
  if (view.follow) add('f', 1);
  if (view.query) add('q', encodeURIComponent(view.query));
  return `#${parts.join('&')}`;
}

const encode = (key) => encodeURIComponent(key).replaceAll('%2F', '/');
