/** The host page: goes live with camera, microphone and screen. */
import { isRoomId, randomRoomId, setting, viewerLink } from './core/address.js';
import { OnAir } from './pages/on-air.js';
import { exposeDebugFace, rememberRoom, watchPage } from './pages/common.js';
import { copyOnPress } from './ui/copy.js';
import { $, setText } from './ui/dom.js';
import { HostPanel } from './ui/host-panel.js';
import { SourceTools } from './ui/source-tools.js';
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
const onAir = new OnAir({ watch: false });
const tools = new SourceTools(onAir.sources);

const asked = setting(location, 'room');
roomField.value = asked && isRoomId(asked) ? asked : randomRoomId();
showLink();
roomField.addEventListener('input', () => showLink());
startButton.addEventListener('click', () => start());
$('#stop').addEventListener('click', () => onAir.stop('ended'));
copyOnPress($('#copy-room'), () => roomField.value, roomField);
copyOnPress($('#copy-link'), () => linkField.value, linkField);
onAir.on('change', () => render());
onAir.on('began', () => $('#stop').focus());
onAir.on('stopped', () => startButton.focus());
onAir.on('note', (note) => toast(words.notes[note] ?? words.ofError(note)[0]));
watchPage(() => onAir.session);
exposeDebugFace(() => onAir.session);
panel.follow(() => onAir.session, () => status.state);
render();

async function start() {
  if (onAir.busy) return;
  if (!isRoomId(roomField.value)) {
    toast(words.notes.badRoom);
    roomField.focus();
    return;
  }
  const room = roomField.value;
  await onAir.start({
    room,
    name: setting(location, 'name') ?? 'Host',
    token: setting(location, 'token'),
    create: true,
  });
  if (onAir.started) rememberRoom(room);
}

function render() {
  const { state, words: key } = onAir.state();
  const { started, sources, error } = onAir;
  const shown = words.host[key] ?? words.ofError(key);
  status.show(state, shown, { covered: !started || sources.dark });
  status.countDown(onAir.retryAt_ms, words.nextAttempt);
  preview.show(sources.tiles);
  $('#controls').hidden = !started;
  startButton.hidden = onAir.busy;
  setText($('.label', startButton), error ? words.host.tryAgain : words.host.start);
  roomField.readOnly = onAir.busy;
  tools.render();
  panel.render(started ? onAir.session : null, state);
}

function showLink() {
  linkField.value = viewerLink(location.origin, roomField.value);
  $('#open-link').href = linkField.value;
}
