/**
 * Everything that the pages say while they run. What never changes stands in the HTML.
 */

export const host = {
  idle: ['Ready when you are', 'Your camera starts when you press the button. Nobody sees you before.'],
  starting: ['Starting…', 'Allow the camera and microphone if your browser asks.'],
  connecting: ['Starting…', 'Connecting to the server.'],
  live: ['Live (SFU)', 'You are on air. Share the link to be watched.'],
  muted: ['Live (SFU)', 'Your microphone is muted.'],
  cameraOff: ['Live (SFU)', 'Your camera is off.'],
  dark: ['Live (SFU)', 'Your camera is off and your microphone is muted.'],
  reconnecting: ['Reconnecting…', 'The connection broke. Your stream goes on as soon as it is back.'],
  ended: ['The stream has ended', 'You can start again at any time: viewers with the link come back by themselves.'],
  start: 'Start SFU Streaming',
  tryAgain: 'Try again',
};

export const meeting = {
  idle: ['Ready to join', 'Your camera and microphone start when you join. Nobody sees you before.'],
  starting: ['Joining…', 'Allow the camera and microphone if your browser asks.'],
  connecting: ['Joining…', 'Connecting to the server.'],
  live: ['In the meeting', ''],
  muted: ['In the meeting', ''],
  cameraOff: ['In the meeting', ''],
  dark: ['In the meeting', ''],
  reconnecting: ['Reconnecting…', 'The connection broke. The meeting goes on here by itself.'],
  ended: ['You have left', 'You can join again at any time.'],
  join: 'Join',
};

export const viewer = {
  starting: ['Connecting…', 'The stream starts in a moment.'],
  live: ['Watching Live Stream (SFU)', ''],
  audioOnly: ['Watching Live Stream (SFU)', 'This stream is sound only.'],
  paused: ['Paused by the host', 'It goes on here by itself.'],
  cameraOff: ['The camera is off', 'You still hear the host.'],
  reconnecting: ['Reconnecting…', 'The connection broke. The stream goes on here by itself.'],
  waiting: ['Waiting for the host', 'The stream starts here by itself as soon as the host goes live.'],
  ended: ['The stream has ended', 'Stay if you like: should the host come back, it starts again by itself.'],
  unplayable: ['This browser cannot play the stream', 'It lacks the codec that the host uses. Another browser may do better.'],
  tapToPlay: 'Tap to play',
  tapForSound: 'Tap for sound',
};

/** By code: a title, and what to do about it. */
export const errors = {
  insecure: [
    'A secure address is needed',
    'Browsers give the camera only to pages on https:// or on localhost. Open this page at such an address.',
  ],
  no_webrtc: [
    'This browser cannot do it',
    'It has no WebRTC. Use a current Chrome, Edge, Firefox or Safari.',
  ],
  unsupported: [
    'This browser cannot do it',
    'Its WebRTC is too old or lacks what this server needs. Use a current Chrome, Edge, Firefox or Safari.',
  ],
  denied: [
    'The camera is not allowed',
    'Allow camera and microphone for this page, by the icon next to the address, then try again.',
  ],
  no_camera: [
    'No camera found',
    'Plug one in, or switch it on, then try again.',
  ],
  busy: [
    'The camera is busy',
    'Another program or tab seems to use it. Close that one, then try again.',
  ],
  capture_failed: [
    'The camera did not start',
    'The browser could not open it. Try again, or choose another camera in the browser’s settings.',
  ],
  bad_scalability: [
    'There is no such scalability mode',
    'The page’s address asks for one that does not exist. A mode is written like L3T3_KEY.',
  ],
  unsupported_scalability: [
    'This browser cannot send these layers',
    'It does not send this codec in the scalability mode that the page’s address asks for. ' +
      'VP9 and AV1 have the most modes: add codec=vp9 to the address, or take another mode.',
  ],
  unreachable: ['The server cannot be reached', 'Is your network up? This page keeps trying.'],
  room_not_found: [
    'This room does not exist',
    'Check the link. If the host has yet to open it, stay: this page looks again by itself.',
  ],
  not_allowed: [
    'You are not allowed in here',
    'Your link has no valid token for this room, or it has expired. Ask for a new one.',
  ],
  bad_room: [
    'This room does not exist',
    'Its id is not one that a room can have. Check the link.',
  ],
  limit_reached: ['The server is full', 'It takes nobody more at the moment. Try again later.'],
  log_damaged: [
    'This room is closed',
    'Its record is damaged, and the server takes nobody in until that is looked at.',
  ],
  unsupported_codec: ['This codec does not work here', 'The server does not carry it. Choose another.'],
  taken_over: ['This session goes on elsewhere', 'It was taken over by another page. Reload to join anew.'],
  origin_refused: ['This page may not connect', 'The server does not take connections from pages at this address.'],
  media_blocked: [
    'Video cannot get through',
    'The server answers, but its media packets do not arrive. A firewall may block UDP. This page keeps trying.',
  ],
  unknown: ['The server refused', 'It gave the reason “{code}”.'],
};

/** Short notes that come and go. */
export const notes = {
  copied: 'Copied',
  copyFailed: 'Could not copy. Select the text and copy it yourself.',
  noMicrophone: 'No microphone found: your stream has no sound.',
  cameraLost: 'The camera was disconnected.',
  microphoneLost: 'The microphone was disconnected.',
  screenFailed: 'The screen could not be shared.',
  badRoom: 'A room id has letters, digits, dashes and underscores; 64 at most.',
};

export const labels = {
  mute: 'Mute',
  unmute: 'Unmute',
  cameraOff: 'Camera off',
  cameraOn: 'Camera on',
  share: 'Share screen',
  unshare: 'Stop sharing',
  soundOn: 'Sound on',
  soundOff: 'Sound off',
  fullScreen: 'Full screen',
  leaveFullScreen: 'Leave full screen',
  guest: 'Guest',
  you: 'You',
  yourScreen: 'Your screen',
  isMuted: 'Muted',
  grid: 'Grid',
  spotlight: 'Speaker',
};

/** `and 7 more` */
export const more = (count) => `and ${count} more`;

/** `Ann's screen` */
export const screenOf = (name) => `${name}’s screen`;

/** `3 people here` */
export const together = (count) => (count === 1 ? 'You are alone. Send someone the link.' : `${count} people here`);

/** `1 watching` */
export const watching = (count) => `${count} watching`;

/** `Next attempt in 4 s` */
export const nextAttempt = (seconds) =>
  seconds > 0 ? `Next attempt in ${seconds} s` : 'Trying now…';

/** `1.8 Mbit/s` */
export function bitrate(bps) {
  if (bps >= 1e6) return `${(bps / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bps / 1e3)} kbit/s`;
}

/** `0.4 %` */
export const share = (fraction) =>
  `${(fraction * 100).toFixed(fraction > 0 && fraction < 0.1 ? 1 : 0)} %`;

/** `1280×720 · 30 fps` */
export const picture = ({ width, height, fps }) =>
  width ? `${width}×${height} · ${fps} fps` : '–';

/** `12 ms` */
export const roundTrip = (ms) => (ms === null ? '–' : `${Math.max(1, Math.round(ms))} ms`);

/** `4:07`, or `1:04:07` */
export function duration(seconds) {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, i) => (i ? String(part).padStart(2, '0') : part)).join(':');
}

/** `[title, text]` for an error code. */
export function ofError(code) {
  const [title, text] = errors[code] ?? errors.unknown;
  return [title, text.replace('{code}', code)];
}
