import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Layers } from '../media/resting.js';
import { spatialLayers, withoutUpper } from '../media/scalability.js';

/** A stand-in for the browser's RTCRtpSender of one stream; it keeps what it was set to. */
function senderOf(...encodings) {
  const sender = {
    set: [],
    refuses: false,
    getParameters: () => structuredClone({ encodings }),
    async setParameters(parameters) {
      if (sender.refuses) throw new DOMException('no such mode', 'OperationError');
      encodings = structuredClone(parameters.encodings);
      sender.set.push(encodings);
    },
    get now() {
      return encodings[0];
    },
  };
  return sender;
}

const WHOLE = { active: true, scalabilityMode: 'L3T3_KEY', scaleResolutionDownBy: 1.5, maxBitrate: 2_000_000 };

test('a mode without its upper layers has as many temporal ones, and a smaller picture', () => {
  assert.deepEqual(withoutUpper('L3T3', 1), { mode: 'L2T3', scale: 2 });
  assert.deepEqual(withoutUpper('L3T3_KEY', 1), { mode: 'L2T3_KEY', scale: 2 });
  assert.deepEqual(withoutUpper('L3T2_KEY', 2), { mode: 'L1T2', scale: 4 });
  assert.deepEqual(withoutUpper('L2T2_KEY_SHIFT', 1), { mode: 'L1T2', scale: 2 });
  assert.deepEqual(withoutUpper('L3T1h', 2), { mode: 'L1T1', scale: 2.25 });
  assert.deepEqual(['L3T3', 'L2T1h', 'L1T3', undefined].map(spatialLayers), [3, 2, 1, 1]);
});

test('layers inside of a stream rest, and come back as they were', async () => {
  const sender = senderOf({ ...WHOLE });
  const layers = new Layers(sender);
  await layers.send(2);
  assert.equal(sender.set.length, 0, 'all are sent already');
  await layers.send(0);
  assert.deepEqual(sender.now, { active: true, scalabilityMode: 'L1T3', scaleResolutionDownBy: 6, maxBitrate: 135_200 });
  await layers.send(1);
  assert.deepEqual(sender.now, { active: true, scalabilityMode: 'L2T3_KEY', scaleResolutionDownBy: 3, maxBitrate: 520_000 });
  await layers.send(null);
  assert.ok(layers.rest && !sender.now.active);
  await layers.send(0);
  assert.equal(sender.now.scalabilityMode, 'L1T3');
  await layers.send(2);
  assert.deepEqual(sender.now, WHOLE);
  await layers.send(2);
  assert.equal(sender.set.length, 5, 'nothing is set again');
});

test('what a browser refuses is not believed to have happened', async () => {
  const sender = senderOf({ ...WHOLE });
  const layers = new Layers(sender);
  sender.refuses = true;
  await assert.rejects(layers.send(0), { name: 'OperationError' });
  sender.refuses = false;
  // Meanwhile the picture became smaller for another reason.
  await sender.setParameters({ encodings: [{ ...WHOLE, scaleResolutionDownBy: 2 }] });
  await layers.send(1);
  assert.equal(sender.now.scaleResolutionDownBy, 4);
  await layers.send(2);
  assert.deepEqual(sender.now, { ...WHOLE, scaleResolutionDownBy: 2 });
});

test('a stream without layers, and one of many encodings, keep all else as it is', async () => {
  const plain = senderOf({ maxBitrate: 64_000 });
  await new Layers(plain).send(0);
  assert.equal(plain.set.length, 0);
  await new Layers(plain).send(null);
  assert.deepEqual(plain.now, { maxBitrate: 64_000, active: false });
  const low = { active: true, scalabilityMode: 'L1T3', scaleResolutionDownBy: 2 };
  const many = senderOf(low, { ...low, scaleResolutionDownBy: 1 });
  await new Layers(many).send(0);
  assert.deepEqual(many.set, [[low, { active: false, scalabilityMode: 'L1T3', scaleResolutionDownBy: 1 }]]);
  await new Layers(undefined).send(0);
});
