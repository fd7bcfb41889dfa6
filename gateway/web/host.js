/** The host page: goes live with camera, microphone and screen. */
import { isRoomId, randomRoomId, setting, viewerLink } from './core/address.js';
import { isNotAllowed } from './core/errors.js';
import { hostState, isRecovering } from './core/states.js';
import { canShareScreen } from './media/capture.js';
import { Sources } from './media/sources.js';
import { exposeDebugFace, hasWebRtc, openSession, watchPage } from './pages/common.js';
import { copyOnPress } from './ui/copy.js';
import { $, setText, setToggle } from './ui/dom.js';
import { HostPanel } from './ui/host-panel.js';
import { Stage } from './ui/stage.js';
import { Status } from './ui/status.js';
import { toast } from './ui/toast.js';
import * as words from './words.js';

const roomField = $('#room');
const linkField = $('#link');
const startButton = $('#start');
const status = new Status('Reprise');
const preview = new Stage($('#tiles'));
const panel = new HostPanel();
const sources = new Sources();

let session = null;
let phase = 'idle';
let error = null;
let everLive = false;
let wakeLock = null;

const asked = setting(location, 'room');
roomField.value = asked && isRoomId(asked) ? asked : randomRoomId();
showLink();
$('#share').hidden = !canShareScreen();
roomField.addEventListener('input', () => showLink());
startButton.addEventListener('click', () => start());
$('#stop').addEventListener('click', () => stop('ended'));
$('#mute').addEventListener('click', () => sources.toggleMicrophone());
$('#camera').addEventListener('click', () => sources.toggleCamera());
$('#share').addEventListener('click', () => sources.toggleScreen());
copyOnPress($('#copy-room'), () => roomField.value, roomField);
copyOnPress($('#copy-link'), () => linkField.value, linkField);
sources.on('publish', (publication) => session?.publish(publication));
sources.on('unpublish', (source) => session?.unpublish(source));
sources.on('change', () => render());
sources.on('note', (note) => toast(words.notes[note] ?? words.ofError(note)[0]));
watchPage(() => session);
exposeDebugFace(() => session);
panel.follow(() => session, () => status.state);
render();

async function start() {
  if (phase === 'capturing' || phase === 'on') return;
  error = null;
  if (!isRoomId(roomField.value)) {
    toast(words.notes.badRoom);
    roomField.focus();
    return;
  }
  if (!hasWebRtc()) {
    fail('no_webrtc');
    return;
  }
  phase = 'capturing';
  render();
  try {
    await sources.open(setting(location, 'codec') ?? 'vp8');
    goLive();
  } catch (failure) {
    fail(failure.code ?? 'capture_failed');
  }
}

function goLive() {
  const room = roomField.value;
  rememberRoom(room);
  const join = {
    room,
    name: setting(location, 'name') ?? 'Host',
    token: setting(location, 'token'),
    create: true,
  };
  session = openSession(join, { watch: false });
  session.on('change', () => render());
  session.on('refused', ({ code }) => fail(isNotAllowed(code) ? 'not_allowed' : code));
  session.on('problem', (code) => problem(code));
  session.on('roomClosed', (reason) => isRecovering(reason) || stop('ended'));
  phase = 'on';
  everLive = false;
  for (const publication of sources.publications) session.publish(publication);
  session.start();
  keepAwake();
  render();
  $('#stop').focus();
}

/** Let go of everything; the page can start again. */
function stop(next) {
  session?.close();
  session = null;
  sources.close();
  wakeLock?.release().catch(() => {});
  wakeLock = null;
  phase = next;
  render();
  startButton.focus();
}

function fail(code) {
  error = code;
  stop('idle');
}

function problem(code) {
  if (code === 'unsupported') {
    fail(code);
    return;
  }
  error = code;
  render();
}

function render() {
  if (error === 'media_blocked' && session?.mediaState === 'connected') error = null;
  const { state, words: key } = hostState({
    phase,
    error,
    joined: session?.joined ?? false,
    attempts: session?.attempts ?? 0,
    published: session?.published ?? false,
    mediaState: session?.mediaState ?? 'none',
    everLive,
    muted: sources.muted,
    cameraOff: sources.cameraOff,
  });
  everLive ||= state === 'live';
  const on = phase === 'on';
  status.show(state, words.host[key] ?? words.ofError(key), { covered: !on || sources.dark });
  const waits = session && !session.joined && session.retryAt_ms !== null;
  status.countDown(waits ? session.retryAt_ms : null, words.nextAttempt);
  preview.show(sources.tiles);
  $('#controls').hidden = !on;
  startButton.hidden = on || phase === 'capturing';
  setText($('.label', startButton), error ? words.host.tryAgain : words.host.start);
  roomField.readOnly = phase === 'capturing' || on;
  renderToggles();
  panel.render(on ? session : null, state);
}

function renderToggles() {
  const { muted, cameraOff, sharing, hasMicrophone } = sources;
  const { labels } = words;
  $('#mute').hidden = !hasMicrophone;
  setToggle($('#mute'), {
    on: muted,
    label: muted ? labels.unmute : labels.mute,
    icon: muted ? 'microphone-off' : 'microphone',
  });
  setToggle($('#camera'), {
    on: cameraOff,
    label: cameraOff ? labels.cameraOn : labels.cameraOff,
    icon: cameraOff ? 'camera-off' : 'camera',
  });
  setToggle($('#share'), {
    on: sharing,
    label: sharing ? labels.unshare : labels.share,
    icon: 'screen',
  });
}

function showLink() {
  linkField.value = viewerLink(location.origin, roomField.value);
  $('#open-link').href = linkField.value;
}

/** A reload then comes back to the same room. */
function rememberRoom(room) {
  const url = new URL(location.href);
  url.searchParams.set('room', room);
  history.replaceState(null, '', url);
}

/** A phone that dims would stop its camera. */
async function keepAwake() {
  try {
    wakeLock = await navigator.wakeLock?.request('screen');
  } catch {
    wakeLock = null; // low battery, or not supported: the stream goes on while the page is seen
  }
}
