import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Roster } from '../core/roster.js';
import { hostState, isRecovering, viewerState } from '../core/states.js';
import { Meter, totals } from '../core/stats.js';

const producer = (id, peer, kind = 'video') => ({ id, peer, kind, paused: false, appData: {} });

function roster(answer = {}) {
  const room = new Roster();
  room.reset({ peer: 'me', peers: [], producers: [], streaming: false, ...answer }, { fresh: true });
  return room;
}

test('a roster counts those who publish nothing as viewers, and never itself', () => {
  const room = roster({ peers: [{ id: 'me', name: 'I' }, { id: 'h', name: 'Host' }] });
  room.apply('peerJoined', { peer: { id: 'v', name: 'Vera' } });
  room.apply('producerAdded', { producer: producer('p', 'h') });
  assert.deepEqual(room.viewers, [{ id: 'v', name: 'Vera' }]);
});

test('a roster tells its own producers from those of others', () => {
  const room = roster({ producers: [producer('p', 'me'), producer('q', 'h')] });
  assert.deepEqual(room.ownProducers.map(({ id }) => id), ['p']);
  assert.deepEqual(room.remoteProducers.map(({ id }) => id), ['q']);
});

test('a peer that leaves takes its producers along', () => {
  const room = roster({ peers: [{ id: 'h' }], producers: [producer('p', 'h'), producer('q', 'x')] });
  assert.equal(room.apply('peerLeft', { peer: 'h', reason: 'left' }), true);
  assert.deepEqual([...room.producers.keys()], ['q']);
});

test('a stop belongs to the past once someone publishes, or after a fresh join', () => {
  const answer = { peer: 'me', peers: [], producers: [], streaming: false };
  const room = roster({ streaming: true });
  room.apply('streamingStopped', { reason: 'peer_left' });
  room.reset(answer, { fresh: false });
  assert.equal(room.stopReason, 'peer_left');
  room.apply('producerAdded', { producer: producer('p', 'h') });
  assert.equal(room.stopReason, null);
  room.apply('roomClosed', { reason: 'server_stopped' });
  assert.equal(room.stopReason, 'server_stopped');
  room.reset(answer, { fresh: true });
  assert.equal(room.stopReason, null);
});

test('a roster counts an audience that is not named', () => {
  const room = roster({ peers: [{ id: 'h' }], producers: [producer('p', 'h')], peerCount: 400 });
  assert.deepEqual([room.viewers.length, room.viewerCount], [0, 398]);
  assert.equal(room.apply('peerCount', { peers: 500 }), true);
  assert.equal(room.apply('peerCount', { peers: 500 }), false);
  assert.equal(room.viewerCount, 498);
  room.apply('peerJoined', { peer: { id: 'v', name: 'V' } });
  room.apply('peerJoined', { peer: { id: 'v', name: 'V' } });
  assert.deepEqual([room.viewers.length, room.viewerCount], [1, 499]);
  room.apply('peerLeft', { peer: 'v' });
  room.apply('peerLeft', { peer: 'unnamed' });
  assert.equal(room.viewerCount, 498);
  room.apply('peerCount', { peers: 'many' });
  assert.equal(room.viewerCount, 498);
});

test('a roster knows whether who published is still there', () => {
  const room = roster({ peers: [{ id: 'h' }, { id: 'v' }], producers: [producer('p', 'h')] });
  room.apply('producerClosed', { producer: 'p' });
  assert.equal(room.publisherPresent, true);
  room.apply('peerLeft', { peer: 'h' });
  assert.equal(room.publisherPresent, false);
});

test('applying the same notification again changes nothing', () => {
  const room = roster({ producers: [producer('p', 'h')] });
  assert.equal(room.apply('producerPaused', { producer: 'p' }), true);
  assert.equal(room.apply('producerPaused', { producer: 'p' }), false);
  assert.equal(room.apply('producerClosed', { producer: 'p' }), true);
  assert.equal(room.apply('producerClosed', { producer: 'p' }), false);
  assert.equal(room.apply('score', { producer: 'p', score: 5 }), false);
});

test('the reason of a stop is kept until the next start', () => {
  const room = roster({ streaming: true });
  room.apply('streamingStopped', { reason: 'host_left' });
  assert.deepEqual([room.streaming, room.stopReason], [false, 'host_left']);
  room.apply('streamingStarted', {});
  assert.deepEqual([room.streaming, room.stopReason], [true, null]);
});

const watching = {
  error: null,
  joined: true,
  everJoined: true,
  attempts: 0,
  mediaState: 'connected',
  streaming: true,
  stopReason: null,
  publisherPresent: true,
  playing: true,
  streamSeen: true,
  everLive: true,
  unplayable: false,
  producers: [{ kind: 'video', paused: false }, { kind: 'audio', paused: false }],
};
const paused = (kind, isPaused = true) => ({ kind, paused: isPaused });
const fresh = { streamSeen: false, everLive: false, playing: false };

for (const [name, facts, state, words] of [
  ['a picture that moves', {}, 'live', 'live'],
  ['sound alone', { producers: [paused('audio', false)] }, 'live', 'audioOnly'],
  ['an error', { error: 'denied' }, 'error', 'denied'],
  ['before the first answer', { ...fresh, joined: false, everJoined: false }, 'starting', 'starting'],
  ['a server that never answered', { ...fresh, joined: false, everJoined: false, attempts: 1 }, 'error', 'unreachable'],
  ['a lost socket', { joined: false }, 'reconnecting', 'reconnecting'],
  ['a socket lost for long', { joined: false, attempts: 9 }, 'reconnecting', 'unreachable'],
  ['a lost socket after the end', { joined: false, stopReason: 'host_left' }, 'ended', 'ended'],
  ['media that broke off', { mediaState: 'disconnected' }, 'reconnecting', 'reconnecting'],
  ['no host yet', { ...fresh, streaming: false, producers: [] }, 'waiting', 'waiting'],
  ['a room joined anew that is silent now', { streaming: false, streamSeen: false, producers: [] }, 'waiting', 'waiting'],
  ['a host who went', { streaming: false, stopReason: 'host_left', producers: [] }, 'ended', 'ended'],
  ['a plane that died', { streaming: false, stopReason: 'plane_failed', producers: [] }, 'reconnecting', 'reconnecting'],
  ['a host whose connection broke', { streaming: false, stopReason: 'transport_closed', producers: [] }, 'reconnecting', 'reconnecting'],
  ['a host whose connection broke, and who is gone', { streaming: false, stopReason: 'transport_closed', publisherPresent: false, producers: [] }, 'ended', 'ended'],
  ['producers between two', { producers: [] }, 'reconnecting', 'reconnecting'],
  ['all paused', { producers: [paused('video'), paused('audio')] }, 'paused', 'paused'],
  ['the camera off', { producers: [paused('video'), paused('audio', false)] }, 'paused', 'cameraOff'],
  ['the microphone muted', { producers: [paused('video', false), paused('audio')] }, 'live', 'live'],
  ['pictures to come', fresh, 'starting', 'starting'],
  ['pictures that ceased', { playing: false }, 'reconnecting', 'reconnecting'],
  ['a codec that is missing', { ...fresh, unplayable: true }, 'error', 'unplayable'],
]) {
  test(`a viewer page with ${name} is ${state}`, () => {
    assert.deepEqual(viewerState({ ...watching, ...facts }), { state, words });
  });
}

const hosting = {
  phase: 'on',
  error: null,
  joined: true,
  attempts: 0,
  published: true,
  everLive: true,
  mediaState: 'connected',
  muted: false,
  cameraOff: false,
};

for (const [name, facts, state, words] of [
  ['all well', {}, 'live', 'live'],
  ['nothing begun', { phase: 'idle' }, 'idle', 'idle'],
  ['the stream stopped', { phase: 'ended' }, 'ended', 'ended'],
  ['the browser asking', { phase: 'capturing' }, 'starting', 'starting'],
  ['the connection being made', { everLive: false, published: false }, 'starting', 'connecting'],
  ['no server', { everLive: false, joined: false, attempts: 1 }, 'error', 'unreachable'],
  ['a lost socket', { joined: false, attempts: 1 }, 'reconnecting', 'reconnecting'],
  ['a socket lost for long', { joined: false, attempts: 5 }, 'reconnecting', 'unreachable'],
  ['failed media', { mediaState: 'failed' }, 'reconnecting', 'reconnecting'],
  ['a muted microphone', { muted: true }, 'live', 'muted'],
  ['the camera off', { cameraOff: true }, 'live', 'cameraOff'],
  ['both off', { cameraOff: true, muted: true }, 'live', 'dark'],
  ['an error', { error: 'busy' }, 'error', 'busy'],
]) {
  test(`a host page with ${name} is ${state}`, () => {
    assert.deepEqual(hostState({ ...hosting, ...facts }), { state, words });
  });
}

test('a room closed for a restart comes back, one closed by a person does not', () => {
  assert.ok(isRecovering('server_shutdown') && isRecovering('plane_failed'));
  assert.ok(!isRecovering('host_left') && !isRecovering(undefined));
});

const outbound = (kind, bytesSent, packetsSent, more = {}) => ({
  type: 'outbound-rtp',
  kind,
  timestamp: 1000,
  bytesSent,
  packetsSent,
  ...more,
});

test('totals add up layers and show the largest picture that moves', () => {
  const sum = totals(
    [
      outbound('audio', 100, 10),
      outbound('video', 1000, 20, { frameWidth: 320, frameHeight: 180, framesPerSecond: 30 }),
      outbound('video', 5000, 40, { frameWidth: 1280, frameHeight: 720, framesPerSecond: 29.7 }),
      outbound('video', 0, 0, { frameWidth: 1920, frameHeight: 1080 }),
      { type: 'remote-inbound-rtp', packetsLost: 7 },
      { type: 'candidate-pair', nominated: true, currentRoundTripTime: 0.02 },
      { type: 'candidate-pair', nominated: false, currentRoundTripTime: 9 },
    ],
    'send',
  );
  assert.deepEqual([sum.bytes, sum.packets, sum.lost, sum.roundTrip_ms], [6100, 70, 7, 20]);
  assert.deepEqual([sum.width, sum.height, sum.fps], [1280, 720, 30]);
});

test('a meter gives rates over its window and begins anew with a new connection', () => {
  const sample = (at_ms, bytes, packets, lost) => ({ at_ms, bytes, packets, lost, frames: 0 });
  const meter = new Meter();
  assert.equal(meter.add(sample(0, 0, 0, 0)), null);
  const figures = meter.add(sample(1000, 125_000, 90, 10));
  assert.equal(figures.bitrate_bps, 1_000_000);
  assert.equal(figures.loss, 0.1);
  assert.equal(meter.add(sample(2000, 50, 1, 0)), null);
  assert.equal(meter.add(sample(3000, 50, 1, 0)).loss, 0);
});
