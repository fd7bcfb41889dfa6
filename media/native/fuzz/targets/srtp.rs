//! SRTP and SRTCP: bytes from elsewhere never verify, and our own come back as they were.
#![no_main]

use std::sync::LazyLock;

use _native::rtp::RtpHeader;
use _native::srtp::{Inbound, Outbound, OutboundStream, Profile};
use libfuzzer_sys::fuzz_target;

static KEYS: LazyLock<Vec<(Profile, Vec<u8>, Vec<u8>)>> = LazyLock::new(|| {
    let keys = |profile: Profile| {
        (
            profile,
            vec![0x5a; profile.key_len()],
            vec![0xa5; profile.salt_len()],
        )
    };
    Profile::ALL.map(keys).to_vec()
});

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    let (profile, key, salt) = &KEYS[usize::from(which % 3)];
    let mut inbound = Inbound::new(*profile, key, salt).expect("lengths are right");
    let mut outbound = Outbound::new(*profile, key, salt).expect("lengths are right");
    let mut out = [0; 2_048];
    assert!(inbound.unprotect_rtp(data, &mut out).is_err());
    assert!(inbound.unprotect_rtcp(data, &mut out).is_err());

    if let Ok(header) = RtpHeader::parse(data) {
        let mut sealed = data.to_vec();
        sealed.resize(data.len() + profile.rtp_overhead(), 0);
        let payload = &data[header.header_len..];
        let index = u64::from(header.sequence_number);
        let mut stream = OutboundStream::new();
        let len = outbound
            .protect_rtp(&mut stream, index, &mut sealed, header.header_len, payload)
            .expect("there is room");
        let opened = inbound
            .unprotect_rtp(&sealed[..len], &mut out)
            .expect("our own");
        assert_eq!((&out[..opened.len], opened.index), (data, index));
        assert!(inbound.unprotect_rtp(&sealed[..len], &mut out).is_err());
    }
    if data.len() >= 8 && data[0] >> 6 == 2 {
        let mut sealed = [0; 2_048];
        let len = outbound
            .protect_rtcp(data, &mut sealed)
            .expect("there is room");
        let opened_len = inbound
            .unprotect_rtcp(&sealed[..len], &mut out)
            .expect("our own");
        assert_eq!(&out[..opened_len], data);
        assert!(inbound.unprotect_rtcp(&sealed[..len], &mut out).is_err());
    }
});
