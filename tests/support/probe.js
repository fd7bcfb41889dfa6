/* Runs in every page under test: samples what is received, sent and shown, five times a second, or as
   often as a page's `probePeriod_ms` says. */
(() => {
  const PERIOD_MS = 200;
  const WIDTH = 64;
  const HEIGHT = 36;
  const sum = (items, field) => items.reduce((total, item) => total + (item[field] ?? 0), 0);
  const marks = new Map();
  const freezes = [];
  const probe = {
    /** The latest sample. */
    now: null,
    /** Remember the latest sample under a name. */
    mark(name) {
      marks.set(name, probe.now);
      return probe.now;
    },
    /** The same, once there is a picture; says whether there was. */
    markPicture: (name) => Boolean(probe.now?.pixels && probe.mark(name)),
    /** By how much a figure has grown since the mark. */
    grown: (name, field) => (probe.now?.[field] ?? 0) - (marks.get(name)?.[field] ?? 0),
    /** Share of the picture's points that changed visibly since the mark. */
    changed(name) {
      const [before, after] = [marks.get(name)?.pixels, probe.now?.pixels];
      if (!before || !after) return 0;
      const differ = after.filter((value, i) => Math.abs(value - before[i]) > 12).length;
      return differ / after.length;
    },
    /** Brightest less darkest point: a picture that is all one colour is none. */
    contrast: () => (probe.now?.pixels ? Math.max(...probe.now.pixels) - Math.min(...probe.now.pixels) : 0),
    /** Begin to measure the longest time in which no frame was decoded. */
    startGaps() {
      probe.gap_ms = 0;
      probe.gapSince = performance.now();
      probe.gapFrames = null;
    },
    /** Longest freeze (W3C webrtc-stats) that ended since the mark, in s; several that ended between
        two samples count as one. */
    longestFreeze(name) {
      const since = marks.get(name)?.at ?? 0;
      return Math.max(0, ...freezes.filter(({ at }) => at > since).map(({ length_s }) => length_s));
    },
    gap_ms: 0,
    gapSince: 0,
    gapFrames: null,
  };
  window.probe = probe;

  const canvas = document.createElement('canvas');
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext('2d', { willReadFrequently: true });

  function pixelsOf(video) {
    if (!video || video.readyState < 2) return null;
    context.drawImage(video, 0, 0, WIDTH, HEIGHT);
    const { data } = context.getImageData(0, 0, WIDTH, HEIGHT);
    const grey = [];
    for (let i = 0; i < data.length; i += 4) grey.push((data[i] + data[i + 1] + data[i + 2]) / 3);
    return grey;
  }

  function codecsOf(report, streams) {
    const byId = new Map(report.map((item) => [item.id, item]));
    return [...new Set(streams.map(({ codecId }) => byId.get(codecId)?.mimeType))].filter(Boolean);
  }

  async function sample() {
    const stats = (await window.reprise?.stats()) ?? {};
    const recv = stats.recv ?? [];
    const send = stats.send ?? [];
    const of = (report, type, kind) =>
      report.filter((item) => item.type === type && item.kind === kind);
    const video = of(recv, 'inbound-rtp', 'video');
    const audio = of(recv, 'inbound-rtp', 'audio');
    const sent = of(send, 'outbound-rtp', 'video');
    const main = document.querySelector('video.is-main') ?? document.querySelector('video');
    const at = performance.now();
    const framesDecoded = sum(video, 'framesDecoded');
    if (framesDecoded !== probe.gapFrames) {
      probe.gapFrames = framesDecoded;
      probe.gapSince = at;
    }
    probe.gap_ms = Math.max(probe.gap_ms, at - probe.gapSince);
    const freezes_s = sum(video, 'totalFreezesDuration');
    const length_s = freezes_s - (probe.now?.freezes_s ?? 0);
    if (length_s > 0) freezes.push({ at, length_s });
    probe.now = {
      at,
      framesDecoded,
      keyFramesDecoded: sum(video, 'keyFramesDecoded'),
      framesDropped: sum(video, 'framesDropped'),
      freezeCount: sum(video, 'freezeCount'),
      freezes_s,
      frameHeight: Math.max(0, ...video.map((item) => item.frameHeight ?? 0)),
      videoBytes: sum(video, 'bytesReceived'),
      audioBytes: sum(audio, 'bytesReceived'),
      audioLevel: Math.max(0, ...audio.map((item) => item.audioLevel ?? 0)),
      audioEnergy: sum(audio, 'totalAudioEnergy'),
      nackCount: sum(video, 'nackCount'),
      retransmitted: sum(video, 'retransmittedPacketsReceived'),
      roundTrip_s: Math.max(
        0,
        ...recv.filter(({ nominated }) => nominated).map((pair) => pair.currentRoundTripTime ?? 0),
      ),
      packetsLost: sum([...video, ...audio], 'packetsLost'),
      receivedCodecs: codecsOf(recv, video),
      framesEncoded: sum(sent, 'framesEncoded'),
      sentCodecs: codecsOf(send, sent),
      layers: sent
        .map(({ rid, frameHeight, framesEncoded, active, bytesSent }) => ({
          rid, frameHeight, framesEncoded, active, bytesSent,
        }))
        .sort((a, b) => String(a.rid).localeCompare(String(b.rid))),
      currentTime: main?.currentTime ?? 0,
      width: main?.videoWidth ?? 0,
      height: main?.videoHeight ?? 0,
      pixels: pixelsOf(main),
    };
  }

  async function run() {
    try {
      await sample();
    } catch {
      // between two documents, or a transport that just closed
    }
    setTimeout(run, window.probePeriod_ms ?? PERIOD_MS);
  }
  run();
})();
