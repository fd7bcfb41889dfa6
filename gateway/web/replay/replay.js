/** The page of one session: wires the timeline, the player and the panel to each other. */
import { copyOnPress } from '../ui/copy.js';
import { $, setIcon, setText } from '../ui/dom.js';
import { ApiError, ask, keepToken, Latest, takeToken } from './api.js';
import { Axis, S } from './axis.js';
import { watchTheme } from './canvas.js';
import { Division } from './division.js';
import { count, duration, shortId, sinceBegin, timeOfDay } from './format.js';
import { listenKeys } from './keys.js';
import { LaneList } from './lane-list.js';
import { Media } from './media.js';
import { fillAnomalies, Panel } from './panel.js';
import { Player, SPEEDS } from './player.js';
import { Searching } from './searching.js';
import { Charts, Overview, Scrubber } from './strips.js';
import { Timeline } from './timeline.js';
import { StateTree } from './tree.js';
import { Tip } from './tip.js';
import { readView, writeView } from './view-link.js';
import { CATEGORIES, CATEGORY_WORDS } from './words.js';
import { h } from '../ui/dom.js';

const room = decodeURIComponent(location.pathname.split('/')[2] ?? '');
const path = `/${encodeURIComponent(room)}`;
const viewer = Math.random().toString(36).slice(2);
const POLL_MS = 400;
const TICK_MS = 160;
const FAILED_WAIT_MS = 3_000;

const root = document.documentElement;
history.replaceState(null, '', location.pathname + takeToken(location.hash));
const wanted = readView(location.hash);

const axis = new Axis({ begin: 0, end: 1 });
const list = new LaneList();
const player = new Player();
const states = new Latest();
const view = { position: 0, time: null, selected: false, lane: null, session: 0, follow: false };
let summary = null;
let run = null;
let shown = null;
let ready = false;

const tip = new Tip($('#tip'), path);
const elements = { lanes: $('#lanes'), space: $('#lanes-space'), view: $('#lanes-view'), labels: $('#labels'), stage: $('#stage') };
const timeline = new Timeline(elements, axis, list, {
  pick: (position) => go({ at: position }, { selected: true }),
  seek: (time, lane) => {
    if (lane) choose(lane);
    go({ time });
  },
  moved: () => {
    overview.draw();
    scrubber.draw();
    charts.draw();
    division.draw();
    writeSoon();
  },
  grabbed: () => setFollow(false),
  unfolded: () => {
    writeSoon();
    loadChartsSoon();
  },
  choose,
  hover: (mark, x, y) => tip.show(mark, x, y),
  failed,
});
timeline.path = path;
const overview = new Overview($('#overview'), axis, () => {
  setFollow(false);
  timeline.refresh();
  loadChartsSoon();
});
const scrubber = new Scrubber($('#axis'), axis, (time) => go({ time }));
const charts = new Charts($('#charts'), axis, (time) => go({ time }));
const division = new Division($('#division'), axis, (time) => go({ time }));
const tree = new StateTree($('#tree'), $('#changes'), () => shown && go({ at: view.position, since: shown.since }, { quiet: true }));
const tabs = ['why', 'state', 'media', 'log', 'payload'];
const panel = new Panel(
  {
    card: $('#card'),
    payload: $('#payload'),
    tabs: Object.fromEntries(tabs.map((name) => [name, $(`#tab-${name}`)])),
    views: Object.fromEntries(tabs.map((name) => [name, $(`#view-${name}`)])),
  },
  {
    pick: (position) => go({ at: position }, { selected: true, reveal: true }),
    search: (text) => searching.find(text),
    story: (story) => {
      timeline.story = story;
      root.dataset.story = story ? String(story.position) : '';
      timeline.draw();
    },
    zoom: (from, to) => {
      const room = Math.max((to - from) * 0.15, 2e5);
      axis.show(from - room, to + room);
      timeline.refresh();
    },
    tab: () => {
      media.shown = panel.tab === 'media';
      if (media.shown) loadChartsSoon();
      writeSoon();
    },
  },
);
panel.path = path;
const media = new Media($('#view-media'), {
  pick: (position) => go({ at: position }, { selected: true, reveal: true }),
  lane: (key) => choose({ key, kind: key.split('/')[0] }),
  failed,
});
media.path = path;
const searching = new Searching(
  { form: $('#search'), input: $('#query'), results: $('#results') },
  {
    pick: (position) => go({ at: position }, { selected: true, reveal: true }),
    lane: async (lane) => {
      await chooseSession(lane.session);
      if (lane.owner !== lane.key) await timeline.toggle(lane.owner, lane.ordinal, true);
      timeline.revealRow(list.rowOf({ lane: lane.key, owner: lane.owner, ordinal: lane.ordinal }));
      choose(lane);
    },
    changed: () => writeSoon(),
  },
);
searching.path = path;

// Where one is.

/** Go to a position (`at`) or a time; the state there is asked for, and everything follows it. */
async function go(where, { selected = view.selected && !('time' in where), reveal = false, quiet = false } = {}) {
  if (!ready) return;
  if (!quiet && view.position) later = null;
  if ('at' in where) where = { ...where, at: Math.min(Math.max(where.at, 1), summary.end) };
  if ('time' in where && !quiet) {
    if (player.playing) player.play(where.time, performance.now());
    setTime(where.time);
  }
  try {
    const told = await states.run((signal) => ask(`${path}/state`, { ...where, viewer, open: tree.open }, signal));
    if (!told) return;
    shown = told;
    view.position = told.position;
    view.selected = selected;
    if (!('time' in where)) setTime(told.at_ns);
    show(told, reveal);
  } catch (error) {
    failed(error);
  }
}

function setTime(time) {
  view.time = timeline.time = overview.time = scrubber.time = charts.time = division.time = time;
  setText($('#clock'), sinceBegin(time - axis.begin, 1e6));
  timeline.draw();
}

function show(told, reveal) {
  if (reveal) axis.reveal(told.at_ns);
  const name = told.event && list.peers.get(told.event.ordinal)?.name;
  setText($('#place'), `${timeOfDay(told.at_ns)} · ${count(told.position)} of ${count(summary.end)}`);
  root.dataset.position = String(told.position);
  tree.show(told);
  panel.show(told.event, { chosen: view.selected, begin: axis.begin, name });
  const slider = $('#axis');
  slider.ariaValueNow = String(Math.round((told.at_ns - axis.begin) / S));
  slider.ariaValueText = `${sinceBegin(told.at_ns - axis.begin)}, position ${told.position}`;
  if (reveal && told.event) timeline.revealRow(list.rowOf(told.event));
  timeline.refresh();
}

const step = (by) => {
  pause();
  setFollow(false);
  return go({ at: view.position + by }, { reveal: true });
};

async function jump(direction) {
  pause();
  const parameters = { after: view.position, limit: 1, ...(direction < 0 ? { direction: 'back' } : {}) };
  const { anomalies } = await ask(`${path}/anomalies`, parameters).catch((error) => failed(error) ?? { anomalies: [] });
  const [found] = anomalies;
  if (!found) return;
  setFollow(false);
  await go({ at: found.position }, { selected: true, reveal: true });
}

function choose(lane) {
  view.lane = timeline.lane = lane?.key ?? null;
  if (lane && lane.kind !== 'room' && lane.kind !== 'peer') {
    tree.reveal([`${lane.kind}s`, lane.key.split('/')[1]]);
    if (panel.tab === 'state') tree.changed();
  }
  timeline.draw();
  loadChartsSoon();
}

// Playing.

function play() {
  setFollow(false);
  const last = run.end_ns;
  const from = view.time === null || view.time >= last ? axis.begin : view.time;
  player.play(from, performance.now());
  setPlaying(true);
  requestAnimationFrame(tick);
}

function pause() {
  player.pause();
  setPlaying(false);
}

function setPlaying(playing) {
  const button = $('#play');
  setIcon(button, playing ? 'pause' : 'play');
  button.title = playing ? 'Pause (space)' : 'Play (space)';
  button.ariaLabel = playing ? 'Pause' : 'Play';
  root.dataset.playing = String(playing);
}

let asked = 0;
function tick(now) {
  if (!player.playing) return;
  const time = player.time(now);
  if (time >= run.end_ns) {
    pause();
    go({ at: run.end });
    return;
  }
  setTime(time);
  if (time > axis.to) axis.show(time - axis.span * 0.1, time + axis.span * 0.9);
  if (now - asked > TICK_MS) {
    asked = now;
    go({ time, since: view.position }, { quiet: true });
  }
  requestAnimationFrame(tick);
}

// The session.

async function refreshSummary() {
  summary = await ask(path);
  const { sessions } = summary;
  if (!sessions.length) {
    const end = Math.max(summary.end_ns, summary.begin_ns + 1);
    sessions.push({ number: 0, begin: 1, begin_ns: summary.begin_ns, end: summary.end, end_ns: end, peers: 0, peers_max: 0 });
  }
  run = sessions.find((each) => each.number === view.session) ?? sessions.at(-1);
  view.session = timeline.session = run.number;
  const last = run === sessions.at(-1);
  timeline.live = summary.open && last;
  timeline.categories = summary.categories;
  axis.setLimits({ begin: run.begin_ns, end: last ? Math.max(summary.end_ns, run.end_ns) : run.end_ns });
  tell();
}

function tell() {
  setText($('#room'), room);
  document.title = `${room} · Reprise`;
  const badge = $('#badge');
  badge.hidden = false;
  badge.dataset.state = summary.damage ? 'damaged' : summary.open ? 'open' : 'closed';
  setText(badge, summary.damage ? 'Damaged' : summary.open ? 'Live' : 'Closed');
  badge.title = summary.damage ?? '';
  setText($('#lane-count'), `${count(run.peers)} ${run.peers === 1 ? 'peer' : 'peers'} · ${duration(axis.end - axis.begin)}`);
  const odd = Object.values(summary.anomalies).reduce((sum, n) => sum + n, 0);
  setText($('#anomaly-count'), odd ? `${count(odd)} ${odd === 1 ? 'anomaly' : 'anomalies'}` : 'No anomalies');
  $('#anomalies').dataset.odd = String(odd);
  $('#live').hidden = !timeline.live;
  const bar = $('#indexing');
  bar.hidden = summary.indexed >= summary.end;
  bar.value = summary.indexed / Math.max(summary.end, 1);
  bar.title = `${count(summary.indexed)} of ${count(summary.end)} are laid out`;
  root.dataset.indexed = String(summary.indexed);
  const choice = $('#session');
  $('#session-choice').hidden = summary.sessions.length < 2;
  if (choice.options.length !== summary.sessions.length) {
    choice.replaceChildren(
      ...summary.sessions.map((each) => {
        const when = new Date(each.begin_ns / 1e6).toLocaleString(undefined, { dateStyle: 'short', timeStyle: 'short' });
        return h('option', { value: String(each.number) }, `Run ${each.number + 1} · ${when}`);
      }),
    );
  }
  choice.value = String(view.session);
  const { damage, failed: why } = summary;
  problem(damage || why ? `${damage ?? why} What stands before it is shown.` : '');
}

async function chooseSession(number) {
  if (number === view.session) return;
  view.session = number;
  list.unfolded.clear();
  list.peers.clear();
  await refreshSummary();
  axis.fit();
  await Promise.all([timeline.loadPage(0), overview.load(path)]);
  await go({ at: run.end });
}

/** Whether the log is still being laid out; states far into it are slow to tell until that is done. */
const busy = () => (summary.building || summary.indexed < summary.end) && !summary.failed;

/** Where to go once it is. */
let later = null;

/** Wait for more of the index, or for more of a live session. */
async function keepUp() {
  for (;;) {
    try {
      if (busy()) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        await grow();
      } else if (timeline.live) {
        const told = await ask(`${path}/tail`, { after: summary.end });
        if (told.end > summary.end || told.open !== summary.open) await grow();
      } else return;
    } catch (error) {
      failed(error);
      await new Promise((resolve) => setTimeout(resolve, FAILED_WAIT_MS));
    }
  }
}

async function grow() {
  const { whole } = axis;
  const before = axis.span;
  await refreshSummary();
  if (view.follow) axis.show(axis.end - (whole ? axis.end - axis.begin : before), axis.end);
  else if (whole) axis.fit();
  const [first, last] = timeline.inSight;
  const pages = new Set([0]);
  for (let row = first; row <= last; row += 20) pages.add(Math.max(0, Math.floor((list.row(row)?.ordinal ?? 0) / 100) * 100));
  await Promise.all([...pages].map((offset) => timeline.loadPage(offset)));
  await timeline.loadChildren([...list.unfolded.keys()]);
  await overview.load(path);
  loadChartsSoon();
  if (!busy() && later !== null) {
    const at = view.follow ? summary.end : later;
    later = null;
    await go({ at });
  } else if (view.follow && !busy()) await go({ at: summary.end }, { selected: false });
  root.dataset.end = String(summary.end);
}

function setFollow(on) {
  view.follow = on && timeline.live;
  $('#live').setAttribute('aria-pressed', String(view.follow));
  root.dataset.follow = String(view.follow);
}

let chartTimer = 0;
function loadChartsSoon() {
  clearTimeout(chartTimer);
  chartTimer = setTimeout(async () => {
    const lanes = [];
    const below = (key) => list.unfolded.get(key)?.children.map((child) => child.key) ?? [];
    if (view.lane?.startsWith('peer/')) lanes.push(...below(view.lane));
    else if (view.lane && view.lane !== 'room') lanes.push(view.lane);
    const useful = lanes.filter((key) => /^(transport|producer|consumer)\//.test(key)).slice(0, 8);
    const nameOf = ({ lane, about }) => `${about || lane.split('/')[0]} ${shortId(lane.split('/')[1])}`;
    const dividing = division.load(path, view.lane).catch(failed);
    await charts.load(path, view.session, useful, nameOf).catch(failed);
    await dividing;
    const chosen = view.lane && view.lane !== 'room' ? [view.lane] : [];
    media.begin = axis.begin;
    await media.load({ session: view.session, lanes: chosen, from: axis.from, to: axis.to }).catch(failed);
  }, 120);
}

// The address.

let writing = 0;
function writeSoon() {
  clearTimeout(writing);
  writing = setTimeout(() => {
    if (!ready || player.playing) return;
    history.replaceState(null, '', location.pathname + link());
  }, 250);
}

function link() {
  const zoom = axis.whole ? undefined : [(axis.from - axis.begin) / S, (axis.to - axis.begin) / S];
  return writeView({
    position: view.position,
    zoom,
    selected: view.selected,
    lane: view.lane,
    open: [...list.unfolded.keys()],
    tab: panel.tab,
    session: summary.sessions.length > 1 ? view.session : undefined,
    follow: view.follow,
    query: $('#query').value.trim(),
  });
}

function problem(text) {
  const line = $('#problem');
  line.hidden = !text;
  setText(line, text);
}

function failed(error) {
  if (error?.name === 'AbortError') return;
  problem(error instanceof ApiError ? error.message : `This page failed: ${error?.message ?? error}`);
  $('#access').hidden = error.status !== 401;
  if (!ready) root.dataset.state = 'error';
}

async function start() {
  try {
    if (wanted.session !== undefined) view.session = wanted.session;
    else view.session = -1;
    await refreshSummary();
  } catch (error) {
    setText($('#room'), room);
    failed(error);
    return;
  }
  $('#access').hidden = true;
  axis.width = Math.max(elements.stage.clientWidth, 1);
  axis.fit();
  if (wanted.zoom) axis.show(axis.begin + wanted.zoom[0] * S, axis.begin + wanted.zoom[1] * S);
  searching.begin = axis.begin;
  root.dataset.state = 'ready';
  await Promise.all([timeline.loadPage(0), overview.load(path)]).catch(failed);
  root.dataset.painted = String(Math.round(performance.now()));
  ready = true;
  if (wanted.lane) view.lane = timeline.lane = wanted.lane;
  for (const key of wanted.open ?? []) list.unfold(key, await ordinalOf(key));
  if (wanted.open) await timeline.loadChildren(wanted.open);
  if (wanted.tab) panel.choose(wanted.tab);
  if (wanted.query) $('#query').value = wanted.query;
  setFollow(wanted.follow ?? (timeline.live && wanted.position === undefined));
  const at = wanted.position ?? (timeline.live ? summary.end : run.begin);
  later = busy() ? at : null;
  await go({ at: later === null ? at : 1 }, { selected: wanted.selected ?? false });
  if (wanted.selected && shown?.event) timeline.revealRow(list.rowOf(shown.event));
  loadChartsSoon();
  keepUp();
}

async function ordinalOf(key) {
  for (const [ordinal, lane] of list.peers) if (lane.key === key) return ordinal;
  const found = await ask(`${path}/search`, { q: `peer:${key.split('/')[1]}` }).catch(() => null);
  return found?.lanes[0]?.ordinal ?? 0;
}

// Hands.

$('#play').addEventListener('click', () => (player.playing ? pause() : play()));
$('#previous').addEventListener('click', () => step(-1));
$('#next').addEventListener('click', () => step(1));
$('#anomaly-next').addEventListener('click', () => jump(1));
$('#anomaly-previous').addEventListener('click', () => jump(-1));
$('#live').addEventListener('click', () => {
  setFollow(!view.follow);
  if (view.follow) {
    axis.show(axis.end - axis.span, axis.end);
    go({ at: summary.end }, { selected: false });
  }
});
const zoomBy = (factor) => {
  const x = view.time === null ? undefined : axis.x(view.time);
  axis.zoom(factor, x >= 0 && x <= axis.width ? x : undefined);
  timeline.refresh();
  loadChartsSoon();
};
const fit = () => {
  axis.fit();
  timeline.refresh();
  loadChartsSoon();
};
$('#zoom-in').addEventListener('click', () => zoomBy(0.5));
$('#zoom-out').addEventListener('click', () => zoomBy(2));
$('#zoom-fit').addEventListener('click', fit);
for (const id of ['#overview', '#axis', '#division', '#charts']) {
  $(id).addEventListener('wheel', (event) => timeline.wheel(event, true), { passive: false });
}
const speed = $('#speed');
speed.append(...SPEEDS.map((each) => h('option', { value: String(each) }, `${each}×`)));
speed.value = '1';
speed.addEventListener('change', () => player.setSpeed(Number(speed.value), performance.now()));
$('#session').addEventListener('change', () => chooseSession(Number($('#session').value)).catch(failed));
$('#access').addEventListener('submit', (event) => {
  event.preventDefault();
  keepToken($('#token').value.trim());
  location.reload();
});
const anomalyList = $('#anomaly-list');
const anomalyButton = $('#anomalies');
anomalyButton.addEventListener('click', async () => {
  const open = anomalyList.hidden;
  anomalyList.hidden = !open;
  anomalyButton.ariaExpanded = String(open);
  if (!open) return;
  const box = anomalyButton.getBoundingClientRect();
  anomalyList.style.top = `${box.bottom + 6}px`;
  anomalyList.style.right = `${Math.max(innerWidth - box.right, 12)}px`;
  const onPick = (position) => {
    closeAnomalies();
    go({ at: position }, { selected: true, reveal: true });
  };
  await fillAnomalies(anomalyList, path, { begin: axis.begin, current: view.position, onPick }).catch(failed);
});
function closeAnomalies() {
  anomalyList.hidden = true;
  anomalyButton.ariaExpanded = 'false';
}
document.addEventListener('pointerdown', ({ target }) => {
  if (!anomalyList.contains(target) && !anomalyButton.contains(target)) closeAnomalies();
});
listenKeys({
  play: () => $('#play').click(),
  step,
  jump,
  zoomBy,
  fit,
  pan: (share) => {
    setFollow(false);
    axis.pan(share * axis.width);
    timeline.refresh();
  },
  home: () => go({ at: run.begin }, { reveal: true }),
  end: () => go({ at: run.end }, { reveal: true }),
  follow: () => $('#live').click(),
  search: () => $('#query').focus(),
  escape: () => {
    closeAnomalies();
    searching.close();
    view.selected = false;
    timeline.story = null;
    timeline.draw();
    writeSoon();
  },
});
copyOnPress($('#copy'), () => location.origin + location.pathname + link(), $('#query'));
addEventListener('hashchange', () => location.reload());
watchTheme(() => timeline.draw());
$('#legend').append(
  ...[...CATEGORIES].reverse().map((name) => h('li', { dataset: { category: name } }, h('span.mark', { 'aria-hidden': 'true' }), CATEGORY_WORDS[name])),
);
start();
