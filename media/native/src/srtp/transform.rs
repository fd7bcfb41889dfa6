//! The ciphers, over session keys. Knows nothing of replay or of who sends.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::EncryptingKey;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use super::kdf::{KeyDerivation, Label, apply_key_stream, counter_mode_key};
use super::{Profile, SrtpError};

const GCM_TAG_LEN: usize = 16;
const SHA1_TAG_LEN: usize = 10;
/// The E bit of the SRTCP index word: the packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;

/// One direction's session keys for either RTP or RTCP, scheduled once.
pub(super) enum Transform {
    Gcm { key: LessSafeKey, salt: [u8; 12] },
    CmSha1(Box<CmSha1Keys>),
}

pub(super) struct CmSha1Keys {
    cipher: EncryptingKey,
    salt: [u8; 14],
    auth: hmac::Key,
}

/// The RTP and the RTCP transform of a master key and salt.
pub(super) fn derive(
    profile: Profile,
    master_key: &[u8],
    master_salt: &[u8],
) -> Result<(Transform, Transform), SrtpError> {
    if master_key.len() != profile.key_len() || master_salt.len() != profile.salt_len() {
        return Err(SrtpError::BadKeyLength);
    }
    let kdf = KeyDerivation::new(master_key, master_salt)?;
    let session = |encryption, authentication, salting| {
        let mut key = [0; 32];
        let mut auth = [0; 20];
        let mut salt = [0; 14];
        let key = &mut key[..profile.key_len()];
        let salt = &mut salt[..profile.salt_len()];
        kdf.derive(encryption, key)?;
        kdf.derive(authentication, &mut auth)?;
        kdf.derive(salting, salt)?;
        match profile {
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => Transform::gcm(key, salt),
            Profile::Aes128CmHmacSha1_80 => Transform::cm_sha1(key, salt, &auth),
        }
    };
    Ok((
        session(
            Label::RtpEncryption,
            Label::RtpAuthentication,
            Label::RtpSalt,
        )?,
        session(
            Label::RtcpEncryption,
            Label::RtcpAuthentication,
            Label::RtcpSalt,
        )?,
    ))
}

impl Transform {
    /// AES-GCM with a session key of 16 or 32 bytes and a session salt of 12.
    pub(super) fn gcm(key: &[u8], salt: &[u8]) -> Result<Self, SrtpError> {
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            32 => &AES_256_GCM,
            _ => return Err(SrtpError::BadKeyLength),
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| SrtpError::BadKeyLength)?;
        Ok(Transform::Gcm {
            key: LessSafeKey::new(key),
            salt: salt.try_into().map_err(|_| SrtpError::BadKeyLength)?,
        })
    }

    /// AES-CM and HMAC-SHA1 with session keys of 16 and 20 bytes and a session salt of 14.
    pub(super) fn cm_sha1(key: &[u8], salt: &[u8], auth: &[u8]) -> Result<Self, SrtpError> {
        Ok(Transform::CmSha1(Box::new(CmSha1Keys {
            cipher: counter_mode_key(key)?,
            salt: salt.try_into().map_err(|_| SrtpError::BadKeyLength)?,
            auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth),
        })))
    }

    /// Length of the authentication tag.
    pub(super) fn tag_len(&self) -> usize {
        match self {
            Transform::Gcm { .. } => GCM_TAG_LEN,
            Transform::CmSha1(_) => SHA1_TAG_LEN,
        }
    }

    /// Encrypts `payload` and then `padding` into `out[header_len..]`, behind the header that stands
    /// there, and appends the tag. `out` must have room.
    pub(super) fn seal_rtp(
        &self,
        ssrc: u32,
        index: u64,
        out: &mut [u8],
        header_len: usize,
        [payload, padding]: [&[u8]; 2],
    ) -> Result<(), SrtpError> {
        let (header, body) = out.split_at_mut(header_len);
        match self {
            Transform::Gcm { key, salt } => {
                let (ciphertext, rest) = body.split_at_mut(payload.len());
                let nonce = gcm_nonce(salt, ssrc, index);
                key.seal_out_of_place_scatter(
                    nonce,
                    Aad::from(&*header),
                    payload,
                    ciphertext,
                    padding,
                    &mut rest[..padding.len() + GCM_TAG_LEN],
                )
                .map_err(|_| SrtpError::BufferTooSmall)
            }
            Transform::CmSha1(_) => {
                let packet_len = header_len + payload.len() + padding.len();
                body[..payload.len()].copy_from_slice(payload);
                body[payload.len()..][..padding.len()].copy_from_slice(padding);
                self.seal_rtp_in_place(ssrc, index, out, header_len, packet_len)
            }
        }
    }

    /// The same for a payload that stands in `out[header_len..packet_len]` already.
    pub(super) fn seal_rtp_in_place(
        &self,
        ssrc: u32,
        index: u64,
        out: &mut [u8],
        header_len: usize,
        packet_len: usize,
    ) -> Result<(), SrtpError> {
        let (packet, tag) = out.split_at_mut(packet_len);
        match self {
            Transform::Gcm { key, salt } => {
                let (header, payload) = packet.split_at_mut(header_len);
                let nonce = gcm_nonce(salt, ssrc, index);
                let sealed = key
                    .seal_in_place_separate_tag(nonce, Aad::from(&*header), payload)
                    .map_err(|_| SrtpError::BufferTooSmall)?;
                tag[..GCM_TAG_LEN].copy_from_slice(sealed.as_ref());
            }
            Transform::CmSha1(keys) => {
                let CmSha1Keys { cipher, salt, auth } = &**keys;
                let iv = cm_iv(salt, ssrc, index);
                apply_key_stream(cipher, iv, &mut packet[header_len..])?;
                let roc = (index >> 16) as u32;
                tag[..SHA1_TAG_LEN].copy_from_slice(&sha1_tag(auth, packet, roc));
            }
        }
        Ok(())
    }

    /// Verifies and decrypts an SRTP packet into `out`, which has the packet's length less the tag.
    pub(super) fn open_rtp(
        &self,
        ssrc: u32,
        index: u64,
        packet: &[u8],
        header_len: usize,
        out: &mut [u8],
    ) -> Result<(), SrtpError> {
        let (sealed, tag) = packet.split_at(out.len());
        let (header, payload) = sealed.split_at(header_len);
        match self {
            Transform::Gcm { key, salt } => {
                let (out_header, out_payload) = out.split_at_mut(header_len);
                let nonce = gcm_nonce(salt, ssrc, index);
                key.open_separate_gather(nonce, Aad::from(header), payload, tag, out_payload)
                    .map_err(|_| SrtpError::AuthenticationFailed)?;
                out_header.copy_from_slice(header);
            }
            Transform::CmSha1(keys) => {
                let CmSha1Keys { cipher, salt, auth } = &**keys;
                let expected = sha1_tag(auth, sealed, (index >> 16) as u32);
                verify_slices_are_equal(&expected, tag)
                    .map_err(|_| SrtpError::AuthenticationFailed)?;
                out.copy_from_slice(sealed);
                apply_key_stream(cipher, cm_iv(salt, ssrc, index), &mut out[header_len..])?;
            }
        }
        Ok(())
    }

    /// Encrypts a compound into `out`, which has room for the tag and the index behind it.
    pub(super) fn seal_rtcp(
        &self,
        ssrc: u32,
        index: u32,
        compound: &[u8],
        out: &mut [u8],
    ) -> Result<(), SrtpError> {
        let word = (ENCRYPTED | index).to_be_bytes();
        let (header, payload) = compound.split_at(8);
        out[..8].copy_from_slice(header);
        match self {
            Transform::Gcm { key, salt } => {
                let (ciphertext, rest) = out[8..].split_at_mut(payload.len());
                key.seal_out_of_place_scatter(
                    gcm_nonce(salt, ssrc, u64::from(index)),
                    Aad::from(rtcp_aad(header, word)),
                    payload,
                    ciphertext,
                    &[],
                    &mut rest[..GCM_TAG_LEN],
                )
                .map_err(|_| SrtpError::BufferTooSmall)?;
                rest[GCM_TAG_LEN..][..4].copy_from_slice(&word);
            }
            Transform::CmSha1(keys) => {
                let CmSha1Keys { cipher, salt, auth } = &**keys;
                let iv = cm_iv(salt, ssrc, u64::from(index));
                out[8..compound.len()].copy_from_slice(payload);
                apply_key_stream(cipher, iv, &mut out[8..compound.len()])?;
                let tag = sha1_tag(auth, &out[..compound.len()], ENCRYPTED | index);
                out[compound.len()..][..4].copy_from_slice(&word);
                out[compound.len() + 4..][..SHA1_TAG_LEN].copy_from_slice(&tag);
            }
        }
        Ok(())
    }

    /// The index of an SRTCP packet that is long enough; `None` if it is not encrypted.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Option<u32> {
        let trailer = match self {
            Transform::Gcm { .. } => 4,
            Transform::CmSha1(_) => 4 + SHA1_TAG_LEN,
        };
        let at = packet.len().checked_sub(trailer)?;
        let word = u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?);
        (word & ENCRYPTED != 0).then_some(word & !ENCRYPTED)
    }

    /// Verifies and decrypts an SRTCP packet into `out`, which has the compound's length.
    pub(super) fn open_rtcp(
        &self,
        ssrc: u32,
        index: u32,
        packet: &[u8],
        out: &mut [u8],
    ) -> Result<(), SrtpError> {
        let (sealed, trailer) = packet.split_at(out.len());
        let word = ENCRYPTED | index;
        match self {
            Transform::Gcm { key, salt } => {
                let (out_header, out_payload) = out.split_at_mut(8);
                key.open_separate_gather(
                    gcm_nonce(salt, ssrc, u64::from(index)),
                    Aad::from(rtcp_aad(sealed, word.to_be_bytes())),
                    &sealed[8..],
                    &trailer[..GCM_TAG_LEN],
                    out_payload,
                )
                .map_err(|_| SrtpError::AuthenticationFailed)?;
                out_header.copy_from_slice(&sealed[..8]);
            }
            Transform::CmSha1(keys) => {
                let CmSha1Keys { cipher, salt, auth } = &**keys;
                let expected = sha1_tag(auth, sealed, word);
                verify_slices_are_equal(&expected, &trailer[4..])
                    .map_err(|_| SrtpError::AuthenticationFailed)?;
                out.copy_from_slice(sealed);
                let iv = cm_iv(salt, ssrc, u64::from(index));
                apply_key_stream(cipher, iv, &mut out[8..])?;
            }
        }
        Ok(())
    }
}

/// The nonce of RTP (RFC 7714, 8.1) and, with the index as the low word, of RTCP (9.1).
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut nonce = *salt;
    for (byte, source) in nonce[2..6].iter_mut().zip(ssrc.to_be_bytes()) {
        *byte ^= source;
    }
    for (byte, counter) in nonce[6..].iter_mut().zip(&index.to_be_bytes()[2..]) {
        *byte ^= counter;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// The first counter block of AES-CM (RFC 3711, 4.1.1).
fn cm_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    for (byte, source) in iv[4..8].iter_mut().zip(ssrc.to_be_bytes()) {
        *byte ^= source;
    }
    for (byte, counter) in iv[8..14].iter_mut().zip(&index.to_be_bytes()[2..]) {
        *byte ^= counter;
    }
    iv
}

/// Header and index word, the data that GCM authenticates without encrypting (RFC 7714, 9.2).
fn rtcp_aad(header: &[u8], word: [u8; 4]) -> [u8; 12] {
    let mut aad = [0; 12];
    aad[..8].copy_from_slice(&header[..8]);
    aad[8..].copy_from_slice(&word);
    aad
}

fn sha1_tag(key: &hmac::Key, packet: &[u8], suffix: u32) -> [u8; SHA1_TAG_LEN] {
    let mut context = hmac::Context::with_key(key);
    context.update(packet);
    context.update(&suffix.to_be_bytes());
    let mut tag = [0; SHA1_TAG_LEN];
    tag.copy_from_slice(&context.sign().as_ref()[..SHA1_TAG_LEN]);
    tag
}
