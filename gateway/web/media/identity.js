/**
 * Who this page is in DTLS: a certificate made before it is needed.
 *
 * A browser makes one for each connection otherwise, and says its fingerprint only with the first
 * description. Told before, it is with the server by the time the first packet is, so the
 * handshake has nothing to wait for.
 */

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' };
/** What is good for no longer than this is made anew. */
const VALID_MS_MIN = 24 * 3600 * 1000;

let made = null;

/**
 * The certificate, for a connection's settings, and the fingerprints to tell the server.
 * @returns {Promise<{certificate: RTCCertificate, fingerprints: object[]} | null>} null where the
 *   browser does not say fingerprints beforehand, or keeps certificates from being handed on. Never
 *   fails.
 */
export async function identity() {
  const asked = made;
  const known = await asked;
  const lasts = known !== null && known.certificate.expires - Date.now() > VALID_MS_MIN;
  if (!lasts && made === asked) made = make(); // unless another one did that meanwhile
  return made;
}

async function make() {
  try {
    const certificate = await RTCPeerConnection.generateCertificate(ALGORITHM);
    structuredClone(certificate); // mediasoup-client will, of a connection's settings
    const fingerprints = certificate.getFingerprints();
    return fingerprints.length > 0 ? { certificate, fingerprints } : null;
  } catch {
    return null; // an older browser: each connection makes its own
  }
}
