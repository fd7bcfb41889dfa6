//! Vectors of RFC 3711 appendix B and RFC 7714, and what both halves owe each other.

use super::kdf::{KeyDerivation, Label, apply_key_stream, counter_mode_key};
use super::transform::Transform;
use super::*;
use crate::test_support::hex;

mod vectors {
    use super::*;

    #[test]
    fn aes_cm_key_stream_of_rfc_3711_b2() {
        let key = counter_mode_key(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let mut iv = [0; 16];
        iv.copy_from_slice(&hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000"));
        let mut stream = vec![0; 0xff02 * 16];
        apply_key_stream(&key, iv, &mut stream).unwrap();
        let start = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
                     41E95B3BB0A2E8DD477901E4FCA894C0";
        let end = "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE
                   6A2CC3787889374FBEB4C81B17BA6C44";
        assert_eq!(stream[..48], hex(start));
        assert_eq!(stream[0xfeff * 16..], hex(end));
    }

    #[test]
    fn session_keys_of_rfc_3711_b3() {
        let kdf = KeyDerivation::new(
            &hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
            &hex("0EC675AD498AFEEBB6960B3AABE6"),
        )
        .unwrap();
        let derive = |label, len| {
            let mut out = vec![0xff; len];
            kdf.derive(label, &mut out).unwrap();
            out
        };
        assert_eq!(
            derive(Label::RtpEncryption, 16),
            hex("C61E7A93744F39EE10734AFE3FF7A087")
        );
        assert_eq!(
            derive(Label::RtpSalt, 14),
            hex("30CBBC08863D8C85D49DB34A9AE1")
        );
        assert_eq!(
            derive(Label::RtpAuthentication, 94),
            hex(
                "CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE
                 E049646C43D9327AD175578EF7227098 6371C10C9A369AC2F94A8C5FBCDDDC25
                 6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2"
            )
        );
    }

    const RTP: &str = "8040f17b8041f8d35501a0b2 47616c6c696120657374206f6d6e697320646976697361
                       20696e207061727465732074726573";
    const SRTP_128: &str = "8040f17b8041f8d35501a0b2 f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d29
                            4e6f42a5f47a51c7d19b36de3adf8833 899d7f27beb16a9152cf765ee4390cce";
    const SRTP_256: &str = "8040f17b8041f8d35501a0b2 32b1de78a822fe12ef9f78fa332e33aab18012389a58
                            e2f3b50b2a0276ffae0f1ba63799b87b 7aa3db36dfffd6b0f9bb7878d7a76c13";
    const RTCP: &str = "81c8000d4d617273 4e5450314e545032525450200000042a0000e9304c756e61
                        deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
    const SRTCP_128: &str = "81c8000d4d617273 63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc6
                             76a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9ea
                             de800005d4";
    const SRTCP_256: &str = "81c8000d4d617273 d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2
                             eaa5c1110555be8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3
                             be800005d4";

    /// The RFC's keys are session keys, used below the derivation.
    fn rfc_7714(key_len: u8) -> (Profile, impl Fn() -> Transform) {
        let profile = match key_len {
            16 => Profile::AeadAes128Gcm,
            _ => Profile::AeadAes256Gcm,
        };
        (profile, move || {
            let key: Vec<u8> = (0..key_len).collect();
            Transform::gcm(&key, &hex("517569642070726f2071756f")).unwrap()
        })
    }

    #[test]
    fn srtp_packets_of_rfc_7714_16() {
        for (key_len, expected) in [(16, SRTP_128), (32, SRTP_256)] {
            let (profile, keys) = rfc_7714(key_len);
            let (plain, sealed) = (hex(RTP), hex(expected));

            let outbound = Outbound::from_transforms(profile, keys(), keys());
            let mut out = plain.clone();
            out.resize(plain.len() + 16, 0);
            let len = outbound
                .protect_rtp(
                    &mut OutboundStream::new(),
                    0xf17b,
                    &mut out,
                    12,
                    &plain[12..],
                )
                .unwrap();
            assert_eq!(out[..len], sealed);

            let mut in_place = plain.clone();
            in_place.resize(plain.len() + 16, 0);
            let mut stream = OutboundStream::new();
            outbound
                .protect_rtp_in_place(&mut stream, 0xf17b, &mut in_place, 12, plain.len())
                .unwrap();
            assert_eq!(in_place, sealed);

            let mut inbound = Inbound::from_transforms(profile, keys(), keys());
            let mut opened = [0; 128];
            let done = inbound.unprotect_rtp(&sealed, &mut opened).unwrap();
            assert_eq!(opened[..done.len], plain);
            assert_eq!(done.index, 0xf17b);
        }
    }

    #[test]
    fn srtcp_packets_of_rfc_7714_17() {
        for (key_len, expected) in [(16, SRTCP_128), (32, SRTCP_256)] {
            let (profile, keys) = rfc_7714(key_len);
            let (plain, sealed) = (hex(RTCP), hex(expected));

            let mut outbound = Outbound::from_transforms(profile, keys(), keys());
            outbound.resume_rtcp_at(0x5d4);
            let mut out = [0; 128];
            let len = outbound.protect_rtcp(&plain, &mut out).unwrap();
            assert_eq!(out[..len], sealed);

            let mut inbound = Inbound::from_transforms(profile, keys(), keys());
            let len = inbound.unprotect_rtcp(&sealed, &mut out).unwrap();
            assert_eq!(out[..len], plain);
        }
    }
}

mod sessions {
    use proptest::prelude::*;

    use super::*;

    /// Both halves of one direction, from the same keys.
    fn pair(profile: Profile) -> (Outbound, Inbound) {
        let key: Vec<u8> = (1..=profile.key_len() as u8).collect();
        let salt: Vec<u8> = (101..).take(profile.salt_len()).collect();
        (
            Outbound::new(profile, &key, &salt).unwrap(),
            Inbound::new(profile, &key, &salt).unwrap(),
        )
    }

    fn header(ssrc: u32, index: u64) -> [u8; 12] {
        let mut header = [0x80, 96, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0];
        header[2..4].copy_from_slice(&(index as u16).to_be_bytes());
        header[8..].copy_from_slice(&ssrc.to_be_bytes());
        header
    }

    fn seal(
        outbound: &Outbound,
        stream: &mut OutboundStream,
        ssrc: u32,
        index: u64,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut out = header(ssrc, index).to_vec();
        out.resize(12 + payload.len() + outbound.profile().rtp_overhead(), 0);
        let len = outbound
            .protect_rtp(stream, index, &mut out, 12, payload)
            .unwrap();
        assert_eq!(len, out.len());
        out
    }

    #[test]
    fn rtp_survives_the_rollover_in_every_profile() {
        for profile in Profile::ALL {
            let (outbound, mut inbound) = pair(profile);
            let mut stream = OutboundStream::new();
            let mut out = [0; 64];
            for index in [
                65_534, 65_536, 65_535, 65_537, 90_000, 110_000, 131_071, 131_072,
            ] {
                let sealed = seal(&outbound, &mut stream, 7, index, b"payload");
                let done = inbound.unprotect_rtp(&sealed, &mut out).unwrap();
                assert_eq!((done.index, &out[12..done.len]), (index, &b"payload"[..]));
            }
        }
    }

    #[test]
    fn a_replayed_packet_is_refused_per_source() {
        for profile in Profile::ALL {
            let (outbound, mut inbound) = pair(profile);
            let mut out = [0; 64];
            for ssrc in [1, 2] {
                let mut stream = OutboundStream::new();
                let sealed = seal(&outbound, &mut stream, ssrc, 5, b"x");
                assert!(inbound.unprotect_rtp(&sealed, &mut out).is_ok());
                assert_eq!(
                    inbound.unprotect_rtp(&sealed, &mut out),
                    Err(SrtpError::Replayed)
                );
            }
        }
    }

    #[test]
    fn a_packet_behind_the_window_is_refused() {
        let (outbound, mut inbound) = pair(Profile::AeadAes128Gcm);
        let mut stream = OutboundStream::new();
        let old = seal(&outbound, &mut stream, 1, 10, b"x");
        let last = seal(&outbound, &mut stream, 1, 10 + WINDOW_LEN, b"x");
        let mut out = [0; 64];
        inbound.unprotect_rtp(&last, &mut out).unwrap();
        assert_eq!(
            inbound.unprotect_rtp(&old, &mut out),
            Err(SrtpError::TooOld)
        );
    }

    #[test]
    fn a_forged_packet_moves_neither_window_nor_rollover_counter() {
        for profile in Profile::ALL {
            let (outbound, mut inbound) = pair(profile);
            let mut stream = OutboundStream::new();
            let mut out = [0; 64];
            let first = seal(&outbound, &mut stream, 1, 100, b"x");
            inbound.unprotect_rtp(&first, &mut out).unwrap();
            let mut forged = seal(&outbound, &mut stream, 1, 30_000, b"x");
            *forged.last_mut().unwrap() ^= 1;
            assert_eq!(
                inbound.unprotect_rtp(&forged, &mut out),
                Err(SrtpError::AuthenticationFailed)
            );
            let early = seal(&outbound, &mut OutboundStream::new(), 1, 101, b"x");
            assert_eq!(inbound.unprotect_rtp(&early, &mut out).unwrap().index, 101);
        }
    }

    #[test]
    fn a_forged_packet_of_a_new_source_takes_no_room() {
        let (outbound, mut inbound) = pair(Profile::AeadAes128Gcm);
        let mut out = [0; 64];
        for ssrc in 0..2 * SOURCES_MAX as u32 {
            let mut forged = seal(&outbound, &mut OutboundStream::new(), ssrc, 1, b"x");
            forged[13] ^= 1;
            assert_eq!(
                inbound.unprotect_rtp(&forged, &mut out),
                Err(SrtpError::AuthenticationFailed)
            );
        }
    }

    #[test]
    fn the_source_table_is_bounded_and_frees_what_is_forgotten() {
        let (outbound, mut inbound) = pair(Profile::AeadAes128Gcm);
        let mut out = [0; 64];
        let sealed = |ssrc| seal(&outbound, &mut OutboundStream::new(), ssrc, 1, b"x");
        for ssrc in 0..SOURCES_MAX as u32 {
            inbound.unprotect_rtp(&sealed(ssrc), &mut out).unwrap();
        }
        let surplus = sealed(9_999);
        assert_eq!(
            inbound.unprotect_rtp(&surplus, &mut out),
            Err(SrtpError::TooManySources)
        );
        inbound.forget(3);
        assert!(inbound.unprotect_rtp(&surplus, &mut out).is_ok());
    }

    #[test]
    fn an_outgoing_index_is_never_used_twice() {
        let (outbound, _) = pair(Profile::AeadAes128Gcm);
        let mut stream = OutboundStream::resume_at(500);
        assert_eq!(stream.next_index(), 500);
        let mut protect = |index| {
            let mut out = [0; 64];
            out[..12].copy_from_slice(&header(1, index));
            outbound.protect_rtp(&mut stream, index, &mut out, 12, b"x")
        };
        assert_eq!(protect(499), Err(SrtpError::IndexReused));
        assert!(protect(502).is_ok());
        assert!(protect(500).is_ok());
        assert_eq!(protect(502), Err(SrtpError::IndexReused));
        assert_eq!(protect(1 << 48), Err(SrtpError::KeyExhausted));
    }

    #[test]
    fn a_header_with_another_sequence_number_is_refused() {
        let (outbound, _) = pair(Profile::AeadAes128Gcm);
        let mut out = [0; 64];
        out[..12].copy_from_slice(&header(1, 8));
        let mut stream = OutboundStream::new();
        assert_eq!(
            outbound.protect_rtp(&mut stream, 9, &mut out, 12, b"x"),
            Err(SrtpError::Malformed)
        );
        assert_eq!(stream.next_index(), 0);
    }

    #[test]
    fn rtcp_is_protected_against_replay_forgery_and_plain_text() {
        for profile in Profile::ALL {
            let (mut outbound, mut inbound) = pair(profile);
            let compound = hex("80c900010000000181cb000100000001");
            let (mut sealed, mut out) = ([0; 64], [0; 64]);
            let len = outbound.protect_rtcp(&compound, &mut sealed).unwrap();
            assert_eq!(len, compound.len() + profile.rtcp_overhead());
            assert_ne!(sealed[8..16], compound[8..16]);

            let mut forged = sealed;
            forged[9] ^= 1;
            assert_eq!(
                inbound.unprotect_rtcp(&forged[..len], &mut out),
                Err(SrtpError::AuthenticationFailed)
            );
            let mut plain = sealed;
            let flag = match profile {
                Profile::Aes128CmHmacSha1_80 => compound.len(),
                _ => compound.len() + 16,
            };
            plain[flag] &= 0x7f;
            assert_eq!(
                inbound.unprotect_rtcp(&plain[..len], &mut out),
                Err(SrtpError::Malformed)
            );
            assert_eq!(
                inbound.unprotect_rtcp(&sealed[..len], &mut out),
                Ok(compound.len())
            );
            assert_eq!(out[..compound.len()], compound);
            assert_eq!(
                inbound.unprotect_rtcp(&sealed[..len], &mut out),
                Err(SrtpError::Replayed)
            );
        }
    }

    #[test]
    fn srtcp_ends_with_the_key_and_never_goes_back() {
        let (mut outbound, _) = pair(Profile::AeadAes128Gcm);
        let compound = hex("80c9000100000001");
        let mut out = [0; 64];
        outbound.resume_rtcp_at(u32::MAX >> 1);
        outbound.resume_rtcp_at(3);
        assert!(outbound.protect_rtcp(&compound, &mut out).is_ok());
        assert_eq!(
            outbound.protect_rtcp(&compound, &mut out),
            Err(SrtpError::KeyExhausted)
        );
    }

    #[test]
    fn wrong_key_lengths_are_refused() {
        for profile in Profile::ALL {
            let key = vec![0; profile.key_len() + 1];
            let salt = vec![0; profile.salt_len()];
            assert_eq!(
                Outbound::new(profile, &key, &salt).err(),
                Some(SrtpError::BadKeyLength)
            );
            assert_eq!(
                Inbound::new(profile, &key[1..], &salt[1..]).err(),
                Some(SrtpError::BadKeyLength)
            );
        }
    }

    #[test]
    fn keys_are_not_printed() {
        let (outbound, inbound) = pair(Profile::AeadAes128Gcm);
        let printed = format!("{outbound:?} {inbound:?}");
        assert!(printed.contains("AeadAes128Gcm"));
        assert!(!printed.contains("key") && !printed.contains("salt"));
    }

    proptest! {
        #[test]
        fn any_payload_round_trips(
            which in 0usize..3, payload in prop::collection::vec(any::<u8>(), 0..1300),
            index in 0u64..1 << 16, ssrc: u32,
        ) {
            let (outbound, mut inbound) = pair(Profile::ALL[which]);
            let sealed = seal(&outbound, &mut OutboundStream::new(), ssrc, index, &payload);
            let mut out = [0; 1500];
            let done = inbound.unprotect_rtp(&sealed, &mut out).unwrap();
            prop_assert_eq!(&out[12..done.len], &payload[..]);
        }

        #[test]
        fn any_flipped_bit_is_noticed(
            which in 0usize..3, len in 0usize..200, position: prop::sample::Index, bit in 0u8..8,
        ) {
            let (outbound, mut inbound) = pair(Profile::ALL[which]);
            let mut sealed = seal(&outbound, &mut OutboundStream::new(), 1, 77, &vec![9; len]);
            let at = position.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(inbound.unprotect_rtp(&sealed, &mut [0; 300]).is_err());
        }
    }
}
