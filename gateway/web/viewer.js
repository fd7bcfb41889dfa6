/** The viewer page: watches a room, by itself, for as long as it is open. */
import { isRoomId, roomOfPath, setting } from './core/address.js';
import { Backoff } from './core/backoff.js';
import { isNotAllowed } from './core/errors.js';
import { isRecovering, viewerState } from './core/states.js';
import { Meter, totals } from './core/stats.js';
import { streamOf } from './media/receiving.js';
import { exposeDebugFace, hasWebRtc, openSession, tellViews, watchPage } from './pages/common.js';
import { $, setText } from './ui/dom.js';
import { Stage } from './ui/stage.js';
import { Status } from './ui/status.js';
import { ViewerControls } from './ui/viewer-controls.js';
import * as words from './words.js';

const TICK_MS = 1_000;
/** Packets but no pictures for so many ticks: ask for a whole picture. */
const STUCK_TICKS = 3;

/** Refused joins that are tried again from time to time. */
const LOOKS_AGAIN = new Set(['room_not_found', 'limit_reached', 'log_damaged']);

const room = roomOfPath(location.pathname);
const status = new Status(room ?? 'Reprise');
const stage = new Stage($('#tiles'));
const controls = new ViewerControls(stage);
const joinBackoff = new Backoff({ first_ms: 1_500, max_ms: 8_000 });

let session = null;
let error = null;
let retryAt_ms = null;
let retryTimer = null;
let streamSeen = false;
let everLive = false;
let stuckTicks = 0;
let meter = new Meter();

stage.on('playing', () => render());
tellViews(stage, () => session);
watchPage(() => session);
exposeDebugFace(() => session);
setText($('#room'), room ?? '');
if (room === null || !isRoomId(room)) stop('bad_room');
else if (!hasWebRtc()) stop('no_webrtc');
else watch();

function watch() {
  const join = {
    room,
    name: setting(location, 'name'),
    token: setting(location, 'token'),
    create: false,
  };
  session = openSession(join, { watch: true });
  session.on('change', () => render());
  session.on('refused', ({ code }) => refused(code));
  session.on('problem', (code) => {
    error = code;
    render();
  });
  session.start();
  setInterval(() => tick(), TICK_MS);
}

/** Show an error that no waiting will mend. */
function stop(code) {
  error = code;
  render();
}

function refused(code) {
  if (isNotAllowed(code)) return stop('not_allowed');
  if (!LOOKS_AGAIN.has(code)) return stop(code);
  // A room that was there and is gone has ended; one that never was does not exist.
  const gone = code === 'room_not_found' && session.everJoined;
  error = gone ? null : code;
  const delay_ms = joinBackoff.next();
  retryAt_ms = gone ? null : performance.now() + delay_ms;
  clearTimeout(retryTimer);
  retryTimer = setTimeout(() => session.start(), delay_ms);
  render(gone);
}

function facts(roomGone) {
  const { roster, mediaState } = session;
  return {
    error,
    joined: session.joined || roomGone,
    everJoined: session.everJoined,
    attempts: session.attempts,
    mediaState,
    streaming: roster.streaming && !roomGone,
    stopReason: roomGone ? reasonOfGoneRoom(roster.stopReason) : roster.stopReason,
    publisherPresent: roster.publisherPresent && !roomGone,
    playing: stage.playing,
    streamSeen,
    everLive,
    unplayable: session.unplayable,
    producers: roomGone ? [] : roster.remoteProducers,
  };
}

/** After a restart of the server a room is only missing until its host is back. */
function reasonOfGoneRoom(stopReason) {
  return isRecovering(stopReason) ? null : (stopReason ?? 'room_closed');
}

function render(roomGone = false) {
  if (session?.joined) {
    joinBackoff.reset();
    retryAt_ms = null;
    if (error !== 'media_blocked' || session.mediaState === 'connected') error = null;
  }
  if (session) stage.show(streams());
  const { state, words: key } = session
    ? viewerState(facts(roomGone))
    : { state: 'error', words: error };
  streamSeen = (streamSeen || state === 'live') && !['ended', 'waiting'].includes(state);
  everLive ||= state === 'live';
  const picture = state === 'live' || (stage.playing && state === 'reconnecting');
  status.show(state, words.viewer[key] ?? words.ofError(key), {
    covered: !picture,
    icon: key === 'cameraOff' ? 'camera-off' : undefined,
  });
  const until_ms = session?.joined ? null : (retryAt_ms ?? session?.retryAt_ms ?? null);
  const countsDown = ['error', 'reconnecting'].includes(state) && until_ms !== null;
  status.countDown(countsDown ? until_ms : null, words.nextAttempt);
  controls.render();
  const others = session ? session.roster.viewerCount + 1 : 0;
  setText($('#watching'), session?.joined ? words.watching(others) : '');
}

/** The tracks that come in, grouped into streams. */
function streams() {
  const { consumers, roster } = session;
  const items = [];
  for (const { id, peer, paused, appData } of roster.remoteProducers) {
    const track = consumers.get(id)?.track;
    if (!track) continue;
    items.push({ id, key: `${peer}-${streamOf(appData)}`, source: appData.source, paused, track });
  }
  return items;
}

async function tick() {
  const { recv } = await session.stats();
  const figures = recv && status.state === 'live' ? meter.add(totals(recv.values(), 'recv')) : null;
  if (!recv) meter = new Meter();
  $('#figures').hidden = !figures;
  if (!figures) return;
  setText($('#picture'), words.picture(figures));
  setText($('#bitrate'), words.bitrate(figures.bitrate_bps));
  setText($('#loss'), words.share(figures.loss));
  setText($('#round-trip'), words.roundTrip(figures.roundTrip_ms));
  unstick(figures);
}

/** Without a whole picture a decoder may wait for ever, while packets come in. */
function unstick({ bitrate_bps, frames }) {
  const videos = session.roster.remoteProducers.filter(
    ({ id, kind, paused }) => kind === 'video' && !paused && stage.views.get(id)?.seen,
  );
  stuckTicks = videos.length && bitrate_bps > 60_000 && frames === 0 ? stuckTicks + 1 : 0;
  if (stuckTicks < STUCK_TICKS) return;
  stuckTicks = 0;
  for (const { id } of videos) session.requestKeyFrame(id);
}
