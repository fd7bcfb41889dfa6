import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRoomId, meetingLink, randomRoomId, roomOfPath, roomOfText, setting, signalingUrl, viewerLink } from '../core/address.js';
import { Backoff } from '../core/backoff.js';
import { Emitter } from '../core/emitter.js';
import { isNotAllowed, isPassing, isSessionGone } from '../core/errors.js';
import { Ledger } from '../core/ledger.js';
import { chooseCodec, sendingOptions } from '../media/capture.js';
import { canSendLayers, isScalabilityMode } from '../media/scalability.js';
import * as words from '../words.js';

const of = (position, event = 'e', data = {}) => ({ position, event, data });

test('backoff grows to its bound, with jitter below it', () => {
  const highest = new Backoff({ first_ms: 100, max_ms: 1000, factor: 2, random: () => 0.999999 });
  assert.deepEqual([1, 2, 3, 4, 5, 6].map(() => highest.next()), [100, 200, 400, 800, 1000, 1000]);
  const lowest = new Backoff({ first_ms: 100, max_ms: 1000, factor: 2, random: () => 0 });
  assert.deepEqual([lowest.next(), lowest.next()], [50, 100]);
  lowest.reset();
  assert.equal(lowest.next(), 50);
});

test('a ledger takes what is new, once, even out of order or with one position for two', () => {
  const ledger = new Ledger();
  ledger.reset(5);
  assert.equal(ledger.take(of(5)), false);
  assert.equal(ledger.take(of(8)), true);
  assert.equal(ledger.take(of(7)), true);
  assert.equal(ledger.take(of(8)), false);
  assert.equal(ledger.take(of(8, 'f')), true);
  assert.equal(ledger.take(of(8, 'e', { x: 1 })), true);
  assert.equal(ledger.position, 8);
  assert.equal(ledger.take(of(null)), true);
  assert.equal(ledger.take(of(null)), true);
});

test('a ledger stays small and still refuses what it forgot', () => {
  const ledger = new Ledger(3);
  ledger.reset(0);
  for (let position = 1; position <= 10; position += 1) assert.ok(ledger.take(of(position)));
  for (let position = 1; position <= 10; position += 1) assert.ok(!ledger.take(of(position)));
  assert.ok(ledger.take(of(11)));
});

test('error codes are sorted into gone, not allowed and passing', () => {
  assert.ok(isSessionGone('session_expired') && !isSessionGone('forbidden'));
  assert.ok(isNotAllowed('forbidden') && isNotAllowed('unauthorized'));
  assert.ok(!isNotAllowed('room_not_found'));
  assert.ok(isPassing('rate_limited') && !isPassing('room_not_found'));
});

test('emitters survive listeners that leave while they are called', () => {
  const emitter = new Emitter();
  const seen = [];
  const off = emitter.on('x', () => {
    seen.push(1);
    off();
  });
  emitter.on('x', () => seen.push(2));
  emitter.emit('x');
  emitter.emit('x');
  assert.deepEqual(seen, [1, 2, 2]);
});

test('room ids are read from ids, paths and whole links', () => {
  const viewer = { room: 'swift-aria-100', page: 'viewer' };
  assert.deepEqual(roomOfText('  swift-aria-100 '), viewer);
  assert.deepEqual(roomOfText('https://x.example/viewer/swift-aria-100#token=t'), viewer);
  assert.deepEqual(roomOfText('https://x.example/meet/opus-1'), { room: 'opus-1', page: 'meet' });
  for (const bad of ['', 'a b', '../x', 'https://x.example/', 'x'.repeat(65), '-x', 'a.b']) {
    assert.equal(roomOfText(bad), null, bad);
  }
  assert.equal(roomOfPath('/viewer/a%20b'), 'a b');
  assert.equal(roomOfPath('/meet/r_1'), 'r_1');
  assert.equal(roomOfPath('/viewer/%E0%A4%A'), null);
  assert.equal(roomOfPath('/viewer/'), null);
  assert.equal(viewerLink('http://h', 'r_1'), 'http://h/viewer/r_1');
  assert.equal(meetingLink('http://h', 'r_1'), 'http://h/meet/r_1');
});

test('random room ids are room ids and reach the ends of their lists', () => {
  assert.equal(randomRoomId(() => 0), 'amber-anthem-100');
  assert.equal(randomRoomId((bound) => bound - 1), 'warm-waltz-999');
  for (let i = 0; i < 200; i += 1) assert.ok(isRoomId(randomRoomId()));
});

test('the fragment of an address goes before its query', () => {
  const location = { search: '?token=query&codec=vp9', hash: '#token=fragment' };
  assert.equal(setting(location, 'token'), 'fragment');
  assert.equal(setting(location, 'codec'), 'vp9');
  assert.equal(setting(location, 'name'), undefined);
});

test('signaling is at the configured address, else on the page’s host', () => {
  const page = { protocol: 'http:', hostname: 'h.example' };
  assert.equal(signalingUrl({ signalingUrl: 'wss://s.example/' }, page), 'wss://s.example/');
  assert.equal(signalingUrl({ signalingUrl: null, signalingPort: 4001 }, page), 'ws://h.example:4001/');
  assert.equal(signalingUrl(null, { ...page, protocol: 'https:' }), 'wss://h.example:3001/');
});

test('a codec is found by its name, in any case', () => {
  const codecs = [{ mimeType: 'video/VP8' }, { mimeType: 'video/H264' }, { mimeType: 'video/rtx' }];
  assert.equal(chooseCodec(codecs, 'h264'), codecs[1]);
  assert.equal(chooseCodec(codecs, 'av1'), undefined);
});

test('scalability modes are those of W3C webrtc-svc that build layers upon each other', () => {
  for (const mode of ['L1T1', 'L1T3', 'L2T1h', 'L2T2_KEY_SHIFT', 'L3T3', 'L3T3_KEY']) {
    assert.ok(isScalabilityMode(mode), mode);
  }
  for (const bad of ['', 'L4T1', 'L1T4', 'L1T2_KEY', 'S3T3', 'l3t3', 'L3T3_key', ' L3T3', 'L3T3\n']) {
    assert.ok(!isScalabilityMode(bad), bad);
  }
});

test('a scalability mode makes one stream of the camera, and leaves the screen alone', () => {
  const device = { sendRtpCapabilities: { codecs: [] } };
  const modes = (source, wish) =>
    sendingOptions(source, wish)(device).encodings.map((one) => one.scalabilityMode);
  assert.deepEqual(modes('camera', { codec: 'vp9' }), ['L1T3', 'L1T3', 'L1T3']);
  assert.deepEqual(modes('camera', { codec: 'vp9', scalability: 'L3T3_KEY' }), ['L3T3_KEY']);
  assert.deepEqual(modes('screen', { codec: 'vp9', scalability: 'L3T3_KEY' }), [undefined]);
});

test('layers can be sent by a browser that takes the mode, remembers it and encodes it so', async (t) => {
  const browser = { takes: true, remembers: true, encodes: true, closed: 0 };
  class RTCPeerConnection {
    addTransceiver(kind, { sendEncodings }) {
      if (!browser.takes) throw new DOMException('no', 'OperationError');
      return { sender: { getParameters: () => ({ encodings: browser.remembers ? sendEncodings : [{}] }) } };
    }
    close() {
      browser.closed += 1;
    }
  }
  const mediaCapabilities = {
    encodingInfo: async ({ video }) => {
      assert.deepEqual([video.contentType, video.scalabilityMode], ['video/AV1', 'L3T3']);
      if (browser.encodes === null) throw new TypeError('no such codec');
      return { supported: browser.encodes };
    },
  };
  const globals = { RTCPeerConnection, navigator: { mediaCapabilities } };
  for (const [name, value] of Object.entries(globals)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true });
    t.after(() => {
      if (before) Object.defineProperty(globalThis, name, before);
      else delete globalThis[name];
    });
  }
  assert.equal(await canSendLayers('av1', 'L3T3'), true);
  for (const lack of [{ takes: false }, { remembers: false }, { encodes: false }, { encodes: null }]) {
    Object.assign(browser, { takes: true, remembers: true, encodes: true }, lack);
    assert.equal(await canSendLayers('av1', 'L3T3'), false, JSON.stringify(lack));
  }
  assert.equal(browser.closed, 5);
});

test('figures are said for people', () => {
  assert.equal(words.bitrate(1_840_000), '1.8 Mbit/s');
  assert.equal(words.bitrate(64_400), '64 kbit/s');
  assert.equal(words.share(0), '0 %');
  assert.equal(words.share(0.0042), '0.4 %');
  assert.equal(words.share(0.35), '35 %');
  assert.equal(words.duration(7), '0:07');
  assert.equal(words.duration(3_847), '1:04:07');
  assert.equal(words.roundTrip(null), '–');
  assert.equal(words.roundTrip(0.2), '1 ms');
  assert.equal(words.picture({ width: 0, height: 0, fps: 0 }), '–');
});

test('an error without words of its own names its code', () => {
  assert.match(words.ofError('weird_thing')[1], /weird_thing/);
  assert.equal(words.ofError('denied')[0], 'The camera is not allowed');
});
