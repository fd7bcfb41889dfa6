import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeMediaStreamTrack } from 'fake-mediastreamtrack';
import { Session } from '../session.js';
import { Refusal } from './fake-server.mjs';
import { FakeSfu } from './fake-sfu.mjs';
import { clientOf, hold, next, playing, sessionOn, until } from './support.mjs';

const camera = () => ({ source: 'camera', track: new FakeMediaStreamTrack({ kind: 'video' }) });
const microphone = () => ({
  source: 'microphone',
  track: new FakeMediaStreamTrack({ kind: 'audio' }),
});
const sources = (sfu) => [...sfu.producers.values()].map(({ appData }) => appData.source);

async function publishing(t) {
  const all = await sessionOn(t, { watch: false });
  all.session.publish(camera());
  all.session.publish(microphone());
  all.session.start();
  await until(all.session, () => all.session.published);
  return all;
}

async function watching(t) {
  const all = await sessionOn(t, { watch: true });
  const ids = [all.sfu.hostPublishes('video', 'camera'), all.sfu.hostPublishes('audio', 'microphone')];
  all.session.start();
  await until(all.session, () => playing(all.sfu).length === 2);
  return { ...all, ids };
}

test('a host publishes over one transport, and says what each source is', async (t) => {
  const { sfu } = await publishing(t);
  assert.deepEqual(sources(sfu), ['camera', 'microphone']);
  assert.equal(sfu.transports.size, 1);
  assert.equal(sfu.count('consume'), 0);
});

test('a pause reaches the server once', async (t) => {
  const { sfu, session } = await publishing(t);
  const paused = sfu.nextRequest('pauseProducer');
  session.publish({ source: 'microphone', paused: true });
  await paused;
  await until(session, () => session.roster.ownProducers.some((producer) => producer.paused));
  session.publish({ source: 'screen', track: new FakeMediaStreamTrack({ kind: 'video' }) });
  await until(session, () => session.published);
  session.publish({ source: 'microphone', paused: false });
  await sfu.nextRequest('resumeProducer');
  assert.deepEqual([sfu.count('pauseProducer'), sfu.count('resumeProducer')], [1, 1]);
});

test('a pause wished for while the socket is gone is made up for', async (t) => {
  const { sfu, session, signaling } = await publishing(t);
  sfu.cut();
  await next(signaling, 'lost');
  const paused = sfu.nextRequest('pauseProducer');
  session.publish({ source: 'camera', paused: true });
  await paused;
  assert.equal(session.producer('camera').paused, true);
});

test('a pause that the server lost is asked for again after the break', async (t) => {
  const { sfu, session } = await publishing(t);
  session.publish({ source: 'camera', paused: true });
  await sfu.nextRequest('pauseProducer');
  sfu.producers.get(session.producer('camera').id).paused = false;
  sfu.cut();
  await sfu.nextRequest('pauseProducer');
});

test('a source that is given up is closed on the server', async (t) => {
  const { sfu, session } = await publishing(t);
  const closed = sfu.nextRequest('closeProducer');
  session.unpublish('microphone');
  await closed;
  assert.deepEqual(sources(sfu), ['camera']);
});

test('a resumed session keeps its producers', async (t) => {
  const { sfu, session, signaling } = await publishing(t);
  const { id } = session.producer('camera');
  const resumed = next(signaling, 'resumed');
  sfu.cut();
  await resumed;
  session.publish({ source: 'camera', paused: true });
  await sfu.nextRequest('pauseProducer');
  assert.equal(session.producer('camera').id, id);
  assert.equal(sfu.count('produce'), 2);
});

test('a server that forgot the session gets everything anew', async (t) => {
  const { sfu, session } = await publishing(t);
  const { id } = session.producer('camera');
  sfu.forget();
  sfu.cut();
  await until(session, () => session.joined && session.published && session.producer('camera').id !== id);
  assert.deepEqual(sources(sfu), ['camera', 'microphone']);
});

test('a transport that the server closed is replaced, with its producers', async (t) => {
  const { sfu, session } = await publishing(t);
  const { id } = session.producer('camera');
  const [transport] = sfu.transports;
  sfu.transportGone(transport, 'plane_failed');
  await until(session, () => session.published && session.producer('camera').id !== id);
  assert.deepEqual(sources(sfu), ['camera', 'microphone']);
  assert.ok(!sfu.transports.has(transport) && sfu.transports.size === 1);
});

test('a producer whose answer was lost with the socket is closed, and made again', async (t) => {
  const { sfu, session } = await publishing(t);
  const produce = sfu.handlers.get('produce');
  sfu.handlers.set('produce', (data) => {
    sfu.handlers.set('produce', produce);
    produce(data);
    sfu.cut();
    return new Promise(() => {});
  });
  session.publish({ source: 'screen', track: new FakeMediaStreamTrack({ kind: 'video' }) });
  await until(session, () => session.published);
  assert.deepEqual(sources(sfu), ['camera', 'microphone', 'screen']);
  assert.equal(sfu.count('closeProducer'), 1);
});

test('not being allowed to publish is told, and not tried again', async (t) => {
  const { sfu, session } = await sessionOn(t, { watch: false });
  sfu.handlers.set('produce', () => {
    throw new Refusal('forbidden');
  });
  session.publish(camera());
  const refused = next(session, 'refused');
  session.start();
  assert.equal((await refused).code, 'forbidden');
  assert.equal(sfu.count('produce'), 1);
});

test('a refusal that may pass is tried again', async (t) => {
  const { sfu, session } = await sessionOn(t, { watch: false });
  const produce = sfu.handlers.get('produce');
  sfu.handlers.set('produce', () => {
    sfu.handlers.set('produce', produce);
    throw new Refusal('rate_limited');
  });
  session.publish(camera());
  session.start();
  await until(session, () => session.published);
  assert.equal(sfu.count('produce'), 2);
});

test('a viewer consumes all that is there over one transport, and resumes it', async (t) => {
  const { sfu, session, ids } = await watching(t);
  assert.deepEqual(playing(sfu).sort(), ids.sort());
  assert.equal(sfu.transports.size, 1);
  assert.deepEqual([...session.consumers.keys()].sort(), ids);
});

test('a viewer takes what is published later, and lets go of what is closed', async (t) => {
  const { sfu, session, ids } = await watching(t);
  const later = sfu.hostPublishes('video', 'screen');
  await until(session, () => playing(sfu).includes(later));
  sfu.closeProducer(ids[0]);
  await until(session, () => !session.consumers.has(ids[0]));
  assert.equal(session.consumers.size, 2);
  assert.equal(sfu.count('resumeConsumer'), 3);
  assert.equal(sfu.count('closeConsumer'), 0, 'the server knows that itself');
});

test('a viewer hears of a closed producer while it lets go of another by itself', async (t) => {
  const { sfu, session, signaling, ids } = await watching(t);
  const release = hold(sfu, 'closeConsumer');
  const asked = sfu.nextRequest('closeConsumer');
  const arrived = sfu.nextArrival('closeConsumer');
  sfu.notify('peerLeft', { peer: 'host', reason: 'left' });
  await arrived;
  for (const id of ids) sfu.closeProducer(id);
  await until(session, () => session.consumers.size === 0);
  release();
  await asked;
  const later = sfu.hostPublishes('video', 'camera');
  await until(session, () => playing(sfu).includes(later));
  assert.equal(console.warn.mock.callCount(), 0);
  assert.ok(!signaling.events.includes('lost'), 'each request was answered');
});

test('a viewer whose socket broke hears what it missed, and keeps the rest', async (t) => {
  const { sfu, session, signaling, ids } = await watching(t);
  const kept = session.consumers.get(ids[1]).id;
  const resumed = next(signaling, 'resumed');
  sfu.cut();
  await next(signaling, 'lost');
  sfu.closeProducer(ids[0]);
  const later = sfu.hostPublishes('video', 'screen');
  await resumed;
  await until(session, () => session.consumers.has(later) && !session.consumers.has(ids[0]));
  assert.equal(session.consumers.get(ids[1]).id, kept);
  assert.equal(sfu.count('consume'), 3);
});

test('a viewer outlives a restart of the server and of the host', async (t) => {
  const { sfu, session } = await watching(t);
  sfu.forget();
  sfu.cut();
  await until(session, () => session.joined && session.consumers.size === 0);
  const again = sfu.hostPublishes('video', 'camera');
  await until(session, () => playing(sfu).includes(again));
});

test('a producer that is gone before it can be consumed does no harm', async (t) => {
  const { sfu, session, ids } = await watching(t);
  const ghost = { id: 'producer-ghost', peer: 'host', kind: 'video', paused: false, appData: {} };
  const asked = sfu.nextRequest('consume');
  sfu.notify('producerAdded', { producer: ghost });
  await asked;
  const later = sfu.hostPublishes('audio', 'screenAudio');
  await until(session, () => playing(sfu).includes(later));
  assert.deepEqual([...session.consumers.keys()].sort(), [...ids, later].sort());
});

test('a codec that the browser lacks is told and not asked for again', async (t) => {
  const { sfu, session } = await watching(t);
  sfu.handlers.set('consume', () => {
    throw new Refusal('cannot_consume');
  });
  const odd = sfu.hostPublishes('video', 'screen');
  await until(session, () => session.unplayable);
  const before = sfu.count('consume');
  sfu.notify('producerPaused', { producer: odd });
  await until(session, () => session.roster.producers.get(odd).paused);
  assert.equal(sfu.count('consume'), before);
  sfu.closeProducer(odd);
  await until(session, () => !session.unplayable);
});

test('a connection that fails restarts ICE, and is well again when it connects', async (t) => {
  const { sfu, session, handlers, problems } = await watching(t);
  handlers[0].setConnectionState('connected');
  const restarted = sfu.nextRequest('restartIce');
  handlers[0].setConnectionState('failed');
  assert.equal(session.mediaState, 'failed');
  await restarted;
  handlers[0].setConnectionState('connected');
  assert.equal(session.mediaState, 'connected');
  assert.deepEqual([sfu.count('restartIce'), sfu.transports.size, problems], [1, 1, []]);
});

test('a connection that no restart mends is replaced; one that never came is told', async (t) => {
  const { sfu, session, handlers, problems } = await watching(t);
  sfu.handlers.set('restartIce', () => {
    throw new Refusal('internal_error');
  });
  const created = sfu.nextRequest('createTransport');
  handlers[0].setConnectionState('failed');
  await created;
  await until(session, () => playing(sfu).length === 2);
  assert.deepEqual(problems, ['media_blocked']);
  assert.equal(sfu.transports.size, 1);
});

test('a connection that fails while the socket is gone is mended after the resume', async (t) => {
  const { sfu, handlers, signaling, problems } = await watching(t);
  handlers[0].setConnectionState('connected');
  sfu.cut();
  await next(signaling, 'lost');
  const restarted = sfu.nextRequest('restartIce');
  // More often than it may be restarted: attempts without a socket do not count.
  for (let i = 0; i < 5; i += 1) {
    handlers[0].setConnectionState('disconnected');
    handlers[0].setConnectionState('failed');
    await Promise.resolve();
    await Promise.resolve();
  }
  await restarted;
  assert.equal(sfu.count('restartIce'), 1);
  assert.deepEqual([sfu.transports.size, problems], [1, []]);
});

test('a closed room is told and its media let go of', async (t) => {
  const { sfu, session } = await watching(t);
  const closed = next(session, 'roomClosed');
  sfu.notify('roomClosed', { reason: 'empty' });
  assert.equal(await closed, 'empty');
  assert.equal(session.consumers.size, 0);
  assert.equal(session.roster.stopReason, 'empty');
});

test('a browser without usable WebRTC is told so', async (t) => {
  t.mock.method(console, 'error', () => {});
  const sfu = await FakeSfu.start();
  t.after(() => sfu.stop());
  const createDevice = () => Promise.reject(new Error('device not supported'));
  const session = new Session(clientOf(t, sfu), { watch: true, createDevice });
  t.after(() => session.close());
  const problem = next(session, 'problem');
  session.start();
  assert.equal(await problem, 'unsupported');
});

/** A stand-in for the browser's RTCRtpSender; it keeps the states that it was set to. */
function senderOf(producer, layers) {
  const encodings = Array.from({ length: layers }, () => ({ active: true }));
  const sender = {
    states: [],
    getParameters: () => structuredClone({ encodings }),
    async setParameters(parameters) {
      parameters.encodings.forEach(({ active }, layer) => (encodings[layer].active = active));
      sender.states.push(encodings.map(({ active }) => Number(active)).join(''));
    },
  };
  Object.defineProperty(producer, 'rtpSender', { value: sender });
  return sender;
}

const settled = async (sender, count) => {
  while (sender.states.length < count) await new Promise((next) => setTimeout(next, 10));
};

test('a host rests the layers that nobody takes, whatever it paused', async (t) => {
  const { sfu, session } = await publishing(t);
  const camera = session.producer('camera');
  const [video, audio] = [senderOf(camera, 3), senderOf(session.producer('microphone'), 1)];
  const told = (source, maxSpatialLayer) =>
    sfu.notify('producerDemand', { producer: session.producer(source).id, maxSpatialLayer });
  told('camera', 0);
  await settled(video, 1);
  told('camera', 2);
  await settled(video, 2);
  told('microphone', null);
  await settled(audio, 1);
  told('camera', null);
  await settled(video, 3);
  camera.pause();
  told('camera', 2);
  told('microphone', 0);
  await settled(video, 5);
  assert.deepEqual(video.states, ['100', '111', '000', '100', '111'], 'the lowest comes first');
  assert.deepEqual(audio.states, ['0', '1']);
  assert.ok(camera.paused);
  sfu.notify('producerDemand', { producer: 'producer-of-nobody', maxSpatialLayer: null });
  told('microphone', null);
  await settled(audio, 3);
  assert.equal(console.warn.mock.callCount(), 0);
});

/** What a host asks of its camera's sender when somebody comes; `meanwhile` happens as it is asked. */
async function asSomebodyComes(t, meanwhile) {
  const { sfu, session } = await publishing(t);
  const { id } = session.producer('camera');
  const video = senderOf(session.producer('camera'), 3);
  const told = (maxSpatialLayer) => sfu.notify('producerDemand', { producer: id, maxSpatialLayer });
  told(1);
  await settled(video, 1);
  const { setParameters, getParameters } = video;
  const asked = [];
  video.getParameters = () => {
    asked.push('reads');
    return getParameters();
  };
  video.setParameters = async (parameters, options) => {
    asked.push(options?.encodingOptions.map(({ keyFrame }) => keyFrame) ?? 'layers');
    meanwhile(told);
    await new Promise((next) => setTimeout(next, 50));
    await setParameters(parameters);
  };
  sfu.notify('peerJoined', { peer: { id: 'newcomer', name: 'n' } });
  await settled(video, 2);
  await new Promise((next) => setTimeout(next, 100));
  return { asked, layers: video.states.at(-1) };
}

test('who comes has the host make whole pictures of what it sends, and change nothing', async (t) => {
  const { asked, layers } = await asSomebodyComes(t, () => {});
  assert.deepEqual(asked, ['reads', [true, true, false]]);
  assert.equal(layers, '110');
});

test('a demand that changes while whole pictures are made is met after that', async (t) => {
  const { asked, layers } = await asSomebodyComes(t, (told) => told(2));
  assert.deepEqual(asked[1], [true, true, false]);
  assert.equal(asked.filter((one) => one === 'layers').length, 1);
  assert.equal(layers, '111');
});

test('a picture that is seen again before its pause was answered is sent again', async (t) => {
  const { sfu, session, ids } = await watching(t);
  const [video] = ids;
  let answer;
  const asked = new Promise((resolve) => {
    sfu.handlers.set('pauseConsumer', () => {
      resolve();
      return new Promise((done) => {
        answer = () => done({});
      });
    });
  });
  const resumed = sfu.count('resumeConsumer');
  session.view(new Map([[video, { seen: false, height_px: 180 }]]));
  await asked;
  session.view(new Map([[video, { seen: true, height_px: 180 }]]));
  const again = sfu.nextRequest('resumeConsumer');
  answer();
  await again;
  assert.equal(sfu.count('resumeConsumer'), resumed + 1);
});

test('a picture that matters more is said to, once', async (t) => {
  const { sfu, session, ids } = await watching(t);
  const [video] = ids;
  sfu.handlers.set('setPriority', () => ({}));
  const asked = sfu.nextRequest('setPriority');
  session.view(new Map([[video, { seen: true, height_px: 720, priority: 3 }]]));
  assert.equal((await asked).data.priority, 3);
  session.view(new Map([[video, { seen: true, height_px: 720, priority: 3 }]]));
  const again = sfu.nextRequest('setPriority');
  session.view(new Map([[video, { seen: true, height_px: 720, priority: 1 }]]));
  assert.equal((await again).data.priority, 1);
  assert.equal(sfu.count('setPriority'), 2);
});

test('a picture begins as large as it is seen, and not at all when it is not', async (t) => {
  const { sfu, session } = await sessionOn(t, { watch: true });
  sfu.type = (kind) => (kind === 'video' ? 'simulcast' : 'simple');
  const [small, unseen] = [sfu.hostPublishes('video', 'camera'), sfu.hostPublishes('video', 'screen')];
  const sound = sfu.hostPublishes('audio', 'microphone');
  const asked = [];
  for (const method of ['setPreferredLayers', 'resumeConsumer']) {
    const handler = sfu.handlers.get(method);
    sfu.handlers.set(method, (data) => {
      const { producer } = sfu.consumers.get(data.consumer);
      asked.push([method, producer, data.spatialLayer]);
      return handler(data);
    });
  }
  session.view(
    new Map([
      [small, { seen: true, height_px: 200 }],
      [unseen, { seen: false, height_px: 200 }],
    ]),
  );
  session.start();
  await until(session, () => playing(sfu).length === 2 && session.consumers.size === 3);
  const ofSmall = asked.filter(([, producer]) => producer === small);
  assert.deepEqual(ofSmall, [['setPreferredLayers', small, 0], ['resumeConsumer', small, undefined]]);
  assert.deepEqual(playing(sfu).sort(), [small, sound].sort());
  const seen = sfu.nextRequest('resumeConsumer');
  session.view(new Map([[unseen, { seen: true, height_px: 720 }]]));
  await seen;
  assert.ok(playing(sfu).includes(unseen));
  assert.deepEqual(asked.at(-2), ['setPreferredLayers', unseen, 2]);
  assert.equal(sfu.count('pauseConsumer'), 0);
  assert.equal(console.warn.mock.callCount(), 0);
});
