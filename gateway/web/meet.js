/** The meeting page: everyone publishes, everyone sees everyone, and who speaks is large. */
import { isRoomId, meetingLink, roomOfPath, setting } from './core/address.js';
import { streamOf } from './media/receiving.js';
import { spotlight } from './media/viewing.js';
import { exposeDebugFace, tellViews, watchPage } from './pages/common.js';
import { OnAir } from './pages/on-air.js';
import { copyOnPress } from './ui/copy.js';
import { $, setText, setToggle } from './ui/dom.js';
import { Floor } from './ui/floor.js';
import { SourceTools } from './ui/source-tools.js';
import { Status } from './ui/status.js';
import { toast } from './ui/toast.js';
import * as words from './words.js';

/** A strip beside a large picture is worth it from so many seats on. */
const SPOTLIGHT_SEATS_MIN = 3;

const room = roomOfPath(location.pathname);
const status = new Status(room ?? 'Reprise');
const floor = new Floor($('#floor'));
const onAir = new OnAir({ watch: true });
const tools = new SourceTools(onAir.sources);
const nameField = $('#name');

let pinned = null;
let main = null;
let grid = false;

setText($('#room'), room ?? '');
nameField.value = setting(location, 'name') ?? '';
$('#link').value = room === null ? '' : meetingLink(location.origin, room);
copyOnPress($('#copy-link'), () => $('#link').value, $('#link'));
$('#lobby').addEventListener('submit', (event) => {
  event.preventDefault();
  join();
});
$('#stop').addEventListener('click', () => onAir.stop('ended'));
$('#layout').addEventListener('click', () => {
  grid = !grid;
  pinned = null;
  render();
});
floor.on('pin', (key) => {
  pinned = pinned === key ? null : key;
  grid = false;
  render();
});
onAir.on('change', () => render());
onAir.on('began', () => {
  onAir.session.on('levels', (levels) => floor.hear(levels));
  $('#stop').focus();
});
onAir.on('stopped', () => nameField.focus());
onAir.on('note', (note) => toast(words.notes[note] ?? words.ofError(note)[0]));
tellViews(floor, () => onAir.session);
watchPage(() => onAir.session);
exposeDebugFace(() => onAir.session);
if (room === null || !isRoomId(room)) onAir.fail('bad_room');
render();

function join() {
  if (room === null || !isRoomId(room)) return;
  onAir.start({
    room,
    name: nameField.value.trim() || words.labels.guest,
    token: setting(location, 'token'),
    create: true,
  });
}

function render() {
  const { state, words: key } = onAir.state();
  const { started, session } = onAir;
  const people = (session?.roster.peers.size ?? 0) + 1;
  const [title, detail] = words.meeting[key] ?? words.ofError(key);
  const shown = started && state === 'live' ? [title, words.together(people)] : [title, detail];
  status.show(state, shown, { covered: !started, icon: state === 'idle' ? 'people' : undefined });
  status.countDown(onAir.retryAt_ms, words.nextAttempt);
  $('#controls').hidden = !started;
  $('#lobby').hidden = onAir.busy || key === 'bad_room';
  setText($('.label', $('#start')), onAir.error ? words.host.tryAgain : words.meeting.join);
  tools.render();
  const seats = started ? seated(session) : [];
  const speaker = session?.roster.speakingPeer ?? null;
  const large = seats.some(({ screen }) => screen) || seats.length >= SPOTLIGHT_SEATS_MIN;
  main = pinned || large ? (spotlight(seats, { pinned, speaker, before: main })?.key ?? null) : null;
  floor.show(seats, grid ? null : main);
  setToggle($('#layout'), {
    on: false,
    label: grid ? words.labels.spotlight : words.labels.grid,
    icon: grid ? 'spotlight' : 'grid',
  });
  $('#layout').hidden = seats.length < 2;
}

/** A seat for each picture: oneself first, then the others in the order in which they came. */
function seated(session) {
  const { consumers, roster } = session;
  const seats = new Map();
  for (const { source, track } of onAir.sources.tiles) {
    const screen = source === 'screen';
    const name = screen ? words.labels.yourScreen : words.labels.you;
    seats.set(source, { key: source, peer: roster.self, self: true, screen, name, tracks: [track], pictured: true });
  }
  if (!seats.has('camera')) {
    const { you } = words.labels;
    seats.set('camera', { key: 'camera', peer: roster.self, self: true, name: you, tracks: [] });
  }
  seats.get('camera').muted = onAir.sources.muted;
  for (const producer of roster.remoteProducers) take(seats, roster, producer, consumers);
  return [...seats.values()];
}

function take(seats, roster, { id, peer, kind, paused, appData }, consumers) {
  const screen = streamOf(appData) === 'screen';
  const key = `${peer}-${streamOf(appData)}`;
  const known = roster.peers.get(peer)?.name || `${words.labels.guest} ${peer.slice(-4)}`;
  const name = screen ? words.screenOf(known) : known;
  const seat = seats.get(key) ?? { key, peer, self: false, screen, name, video: null, tracks: [] };
  const track = consumers.get(id)?.track;
  if (track) seat.tracks.push(track);
  if (kind === 'video') Object.assign(seat, { video: id, pictured: !paused && Boolean(track) });
  else seat.muted = paused;
  seats.set(key, seat);
}
