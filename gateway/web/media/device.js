/**
 * Devices of mediasoup-client that are loaded soon.
 *
 * What a browser can do takes it a tenth of a second to say, and it always says the same. So it is
 * asked once, at the first device: while the page is still on its way to the server.
 */
import { Device, detectDeviceAsync } from 'mediasoup-client';
import { Chrome111 } from 'mediasoup-client/handlers/Chrome111';
import { Chrome74 } from 'mediasoup-client/handlers/Chrome74';
import { Firefox120 } from 'mediasoup-client/handlers/Firefox120';
import { Safari12 } from 'mediasoup-client/handlers/Safari12';

const HANDLERS = { Chrome111, Chrome74, Firefox120, Safari12 };

/** A handler factory that asks the browser what it can do, in each direction, only once. */
export function askingOnce(handlerFactory) {
  const known = new Map();
  const getNativeRtpCapabilities = ({ direction }) => {
    if (!known.has(direction)) {
      const asked = handlerFactory.getNativeRtpCapabilities({ direction });
      known.set(direction, asked);
      asked.catch(() => known.delete(direction)); // another device asks again
    }
    return known.get(direction);
  };
  return { ...handlerFactory, getNativeRtpCapabilities };
}

let handlerFactory = null;

/**
 * A device to be loaded. The browser is asked at once what it can do, so that loading need not wait.
 * @throws {Error} when this browser's WebRTC is not known
 */
export async function createDevice() {
  if (!handlerFactory) {
    const name = await detectDeviceAsync();
    if (!(name in HANDLERS)) throw new Error('this browser has no WebRTC that is known');
    handlerFactory ??= askingOnce(HANDLERS[name].createFactory({}));
    for (const direction of ['recvonly', 'sendonly']) {
      handlerFactory.getNativeRtpCapabilities({ direction }).catch(() => {}); // `load` tells of it
    }
  }
  return new Device({ handlerFactory });
}
