/** Tracks into a video element, and playing it. */

/**
 * Make a stream hold these tracks and no others.
 * @param {Iterable<MediaStreamTrack>} wanted
 * @returns {boolean} whether any was added: then it must be played anew
 */
export function holdTracks(stream, wanted) {
  const tracks = new Set(wanted);
  for (const track of stream.getTracks()) if (!tracks.has(track)) stream.removeTrack(track);
  const held = stream.getTracks();
  const added = [...tracks].filter((track) => !held.includes(track));
  for (const track of added) stream.addTrack(track);
  return added.length > 0;
}

/** Try to play. @returns {Promise<boolean>} false if the browser wants a tap first */
export async function tryToPlay(video) {
  try {
    await video.play();
  } catch (error) {
    return error.name !== 'NotAllowedError'; // others pass by themselves: new tracks came meanwhile
  }
  return true;
}
