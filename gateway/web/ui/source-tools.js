/** The buttons for microphone, camera and screen. */
import { canShareScreen } from '../media/capture.js';
import { labels } from '../words.js';
import { $, setToggle } from './dom.js';

export class SourceTools {
  #sources;

  /** @param {import('../media/sources.js').Sources} sources */
  constructor(sources) {
    this.#sources = sources;
    $('#share').hidden = !canShareScreen();
    $('#mute').addEventListener('click', () => sources.toggleMicrophone());
    $('#camera').addEventListener('click', () => sources.toggleCamera());
    $('#share').addEventListener('click', () => sources.toggleScreen());
  }

  /** Show what is on. */
  render() {
    const { muted, cameraOff, sharing, hasMicrophone } = this.#sources;
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
}
