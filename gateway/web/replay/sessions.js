/** The list of sessions. */
import { $, h, setText } from '../ui/dom.js';
import { ApiError, ask, keepToken, Latest, takeToken } from './api.js';
import { count, duration } from './format.js';

const PAGE = 100;
const WAIT_MS = 150;
const WORDS = { open: 'Live', closed: 'Closed', damaged: 'Damaged' };

const list = $('#list');
const latest = new Latest();
let offset = 0;

history.replaceState(null, '', location.pathname + takeToken(location.hash));

async function load(more = false) {
  offset = more ? offset + PAGE : 0;
  const q = $('#q').value;
  const state = $('input[name="state"]:checked').value;
  try {
    const told = await latest.run((signal) => ask('', { q, state, offset, limit: PAGE }, signal));
    if (!told) return;
    show(told, more);
  } catch (error) {
    refused(error);
  }
}

function show(told, more) {
  $('#problem').hidden = !told.damage.length;
  setText($('#problem'), told.damage.join('; '));
  $('#access').hidden = true;
  const { open, closed, damaged } = told.counts;
  const words = [`${count(open + closed + damaged)} in the log`, open && `${count(open)} live`, damaged && `${count(damaged)} damaged`];
  setText($('#counts'), words.filter(Boolean).join(' · '));
  const rows = told.sessions.map(row);
  if (more) list.append(...rows);
  else list.replaceChildren(...rows);
  $('#more').hidden = offset + PAGE >= told.total;
  $('#empty').hidden = told.total > 0;
  document.documentElement.dataset.state = 'ready';
}

function row(session) {
  const when = new Date(session.first_at_ns / 1e6);
  const known = session.messages + session.events > 0;
  const time = known
    ? when.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' })
    : 'never written';
  return h(
    'li',
    {},
    h(
      'a.session',
      { href: `/replay/${encodeURIComponent(session.room)}`, dataset: { room: session.room } },
      h('span.session-room', {}, session.room),
      h('span.tag', { dataset: { state: session.state }, title: session.damage ?? '' }, WORDS[session.state]),
      h('span.session-time', {}, time),
      h('span.session-length', {}, known ? duration(session.last_at_ns - session.first_at_ns) : '–'),
      h('span.session-count', {}, `${count(session.events)} events`, h('span.muted', {}, ` · ${count(session.messages)} messages`)),
    ),
  );
}

function refused(error) {
  const problem = $('#problem');
  problem.hidden = false;
  setText(problem, error instanceof ApiError ? error.message : 'Something went wrong on this page. Load it again.');
  $('#access').hidden = error.status !== 401;
  list.replaceChildren();
  setText($('#counts'), '\u00a0');
  document.documentElement.dataset.state = 'error';
}

let timer = 0;
$('#q').addEventListener('input', () => {
  clearTimeout(timer);
  timer = setTimeout(load, WAIT_MS);
});
$('#filter').addEventListener('submit', (event) => event.preventDefault());
for (const input of document.querySelectorAll('input[name="state"]')) input.addEventListener('change', () => load());
$('#more').addEventListener('click', () => load(true));
$('#access').addEventListener('submit', (event) => {
  event.preventDefault();
  keepToken($('#token').value.trim());
  load();
});
load();
