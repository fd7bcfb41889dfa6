//! The protection profiles and their sizes.

/// A protection profile (RFC 5764, 4.1.2; RFC 7714, 14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// SRTP_AEAD_AES_128_GCM.
    AeadAes128Gcm,
    /// SRTP_AEAD_AES_256_GCM.
    AeadAes256Gcm,
    /// SRTP_AES128_CM_HMAC_SHA1_80.
    Aes128CmHmacSha1_80,
}

impl Profile {
    /// All profiles, the preferred one first.
    pub const ALL: [Profile; 3] = [
        Profile::AeadAes128Gcm,
        Profile::AeadAes256Gcm,
        Profile::Aes128CmHmacSha1_80,
    ];

    /// OpenSSL's name without its `SRTP_` prefix.
    pub fn name(self) -> &'static str {
        match self {
            Profile::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Profile::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Profile::Aes128CmHmacSha1_80 => "AES128_CM_SHA1_80",
        }
    }

    /// The profile of OpenSSL's, IANA's or SDES's name, with or without the `SRTP_` prefix.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.strip_prefix("SRTP_").unwrap_or(name) {
            "AEAD_AES_128_GCM" => Some(Profile::AeadAes128Gcm),
            "AEAD_AES_256_GCM" => Some(Profile::AeadAes256Gcm),
            "AES128_CM_SHA1_80" | "AES128_CM_HMAC_SHA1_80" | "AES_CM_128_HMAC_SHA1_80" => {
                Some(Profile::Aes128CmHmacSha1_80)
            }
            _ => None,
        }
    }

    /// Length of the master key, in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            Profile::AeadAes128Gcm | Profile::Aes128CmHmacSha1_80 => 16,
            Profile::AeadAes256Gcm => 32,
        }
    }

    /// Length of the master salt, in bytes.
    pub const fn salt_len(self) -> usize {
        match self {
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => 12,
            Profile::Aes128CmHmacSha1_80 => 14,
        }
    }

    /// Length of the authentication tag, in bytes.
    pub const fn tag_len(self) -> usize {
        match self {
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => 16,
            Profile::Aes128CmHmacSha1_80 => 10,
        }
    }

    /// Bytes that protection adds to an RTP packet.
    pub const fn rtp_overhead(self) -> usize {
        self.tag_len()
    }

    /// Bytes that protection adds to a compound RTCP packet: the tag and the SRTCP index.
    pub const fn rtcp_overhead(self) -> usize {
        self.tag_len() + 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_found_by_its_name() {
        for profile in Profile::ALL {
            assert_eq!(Profile::from_name(profile.name()), Some(profile));
            let prefixed = format!("SRTP_{}", profile.name());
            assert_eq!(Profile::from_name(&prefixed), Some(profile));
        }
        assert_eq!(Profile::from_name("AES128_CM_SHA1_32"), None);
    }
}
