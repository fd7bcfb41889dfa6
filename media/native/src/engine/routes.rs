//! Which stream of which producer an incoming RTP packet belongs to.
//!
//! One table a transport, for BUNDLE puts all media sections on one port. The
//! rules, in this order (RFC 9143, 9.2, and RFC 8852 for the rids):
//!
//! 1. The SSRC is in the table: announced, or learned before.
//! 2. The packet bears a mid: the producer with this mid. Bearing a rid too, it
//!    is the media stream of that encoding; bearing a repaired rid, its RTX
//!    stream. With neither, the producer must have a single encoding, and the
//!    payload type tells media from RTX.
//! 3. The packet bears a rid or repaired rid alone: as 2, if one producer only
//!    has an encoding with that rid.
//! 4. The payload type is that of one producer only, and its only encoding has
//!    no SSRC of that sort yet.
//!
//! What rules 2 to 4 find is *learned*: it enters the table. A stream that was
//! learned may be learned anew (a sender that restarts takes another SSRC), and
//! the number of learnings is bounded. Packets that no rule routes are counted
//! and dropped. Rule 1 comes first, against the letter of RFC 9143: an SSRC of
//! a living producer never moves to another one by a mid extension.

use super::table::ProducerKey;

/// Media or its retransmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamKind {
    /// The stream itself.
    Media,
    /// Its retransmission stream (RFC 4588).
    Rtx,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) producer: ProducerKey,
    pub(crate) encoding: u8,
    pub(crate) stream: StreamKind,
}

/// What a packet says about where it belongs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Label<'a> {
    pub(crate) mid: Option<&'a str>,
    pub(crate) rid: Option<&'a str>,
    pub(crate) repaired_rid: Option<&'a str>,
    pub(crate) payload_type: u8,
}

/// An encoding as the rules see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct EncodingLabel {
    pub(crate) rid: Option<String>,
    /// Media SSRC, and whether it was announced rather than learned.
    pub(crate) ssrc: Option<(u32, bool)>,
    pub(crate) rtx_ssrc: Option<(u32, bool)>,
}

impl EncodingLabel {
    fn open_to(&self, stream: StreamKind, anew: bool) -> bool {
        let known = match stream {
            StreamKind::Media => self.ssrc,
            StreamKind::Rtx => self.rtx_ssrc,
        };
        known.is_none_or(|(_, announced)| anew && !announced)
    }
}

/// A producer as the rules see it.
#[derive(Clone, Debug)]
pub(crate) struct ProducerLabel {
    pub(crate) producer: ProducerKey,
    pub(crate) mid: Option<String>,
    pub(crate) encodings: Vec<EncodingLabel>,
    /// Media payload types, and the RTX ones.
    pub(crate) payload_types: Vec<(u8, StreamKind)>,
    pub(crate) learned: u32,
}

impl ProducerLabel {
    fn stream_of(&self, payload_type: u8) -> Option<StreamKind> {
        let found = self
            .payload_types
            .iter()
            .find(|&&(one, _)| one == payload_type);
        found.map(|&(_, stream)| stream)
    }

    fn encoding_of(&self, rid: &str) -> Option<usize> {
        self.encodings
            .iter()
            .position(|encoding| encoding.rid.as_deref() == Some(rid))
    }
}

/// Why a packet has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unrouted {
    /// No rule matches.
    Unknown,
    /// A rule matches, but the tables are full.
    Full,
}

/// The routing table of one transport.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    /// Sorted by SSRC.
    by_ssrc: Vec<(u32, Route)>,
    producers: Vec<ProducerLabel>,
    ssrcs_max: usize,
    learned_max: u32,
}

impl Routes {
    pub(crate) fn new(ssrcs_max: usize, learned_max: u32) -> Self {
        Self {
            by_ssrc: Vec::new(),
            producers: Vec::new(),
            ssrcs_max,
            learned_max,
        }
    }

    /// Rule 1.
    pub(crate) fn by_ssrc(&self, ssrc: u32) -> Option<Route> {
        let place = self
            .by_ssrc
            .binary_search_by_key(&ssrc, |&(one, _)| one)
            .ok()?;
        Some(self.by_ssrc[place].1)
    }

    /// Any SSRC of the transport.
    pub(crate) fn any_ssrc(&self) -> Option<u32> {
        self.by_ssrc.first().map(|&(ssrc, _)| ssrc)
    }

    /// Whether a producer other than `except` uses this SSRC by announcement.
    pub(crate) fn is_announced(&self, ssrc: u32, except: Option<ProducerKey>) -> bool {
        let others = self
            .producers
            .iter()
            .filter(|one| Some(one.producer) != except);
        others.flat_map(|one| &one.encodings).any(|encoding| {
            let announced = |known: Option<(u32, bool)>| known == Some((ssrc, true));
            announced(encoding.ssrc) || announced(encoding.rtx_ssrc)
        })
    }

    /// Room for so many more announced SSRCs.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.by_ssrc.len() + more <= self.ssrcs_max
    }

    /// Puts a producer in, in place of what was there of it.
    pub(crate) fn set(&mut self, label: ProducerLabel) {
        self.remove(label.producer);
        for (index, encoding) in label.encodings.iter().enumerate() {
            let streams = [
                (encoding.ssrc, StreamKind::Media),
                (encoding.rtx_ssrc, StreamKind::Rtx),
            ];
            for (known, stream) in streams {
                if let Some((ssrc, _)) = known {
                    let producer = label.producer;
                    self.insert(
                        ssrc,
                        Route {
                            producer,
                            encoding: index as u8,
                            stream,
                        },
                    );
                }
            }
        }
        self.producers.push(label);
    }

    pub(crate) fn remove(&mut self, producer: ProducerKey) {
        self.by_ssrc.retain(|(_, route)| route.producer != producer);
        self.producers.retain(|label| label.producer != producer);
    }

    /// Rules 2 to 4; learns the SSRC. The old SSRC of a stream learned anew is forgotten.
    pub(crate) fn learn(&mut self, ssrc: u32, label: Label<'_>) -> Result<Route, Unrouted> {
        let (place, encoding, stream) = self.find(label).ok_or(Unrouted::Unknown)?;
        if self.by_ssrc.len() >= self.ssrcs_max || self.producers[place].learned >= self.learned_max
        {
            return Err(Unrouted::Full);
        }
        let producer = &mut self.producers[place];
        producer.learned += 1;
        let known = &mut producer.encodings[encoding];
        let slot = match stream {
            StreamKind::Media => &mut known.ssrc,
            StreamKind::Rtx => &mut known.rtx_ssrc,
        };
        let old = slot.replace((ssrc, false));
        let route = Route {
            producer: producer.producer,
            encoding: encoding as u8,
            stream,
        };
        if let Some((old, _)) = old {
            self.by_ssrc.retain(|&(one, _)| one != old);
        }
        self.insert(ssrc, route);
        Ok(route)
    }

    fn find(&self, label: Label<'_>) -> Option<(usize, usize, StreamKind)> {
        let (place, encoding, stream) = match (label.mid, label.rid, label.repaired_rid) {
            (Some(mid), rid, repaired_rid) => {
                let mut places = (0..self.producers.len())
                    .filter(|&place| self.producers[place].mid.as_deref() == Some(mid));
                let place = places.next()?;
                let producer = &self.producers[place];
                match (rid, repaired_rid) {
                    (_, Some(rid)) => (place, producer.encoding_of(rid)?, StreamKind::Rtx),
                    (Some(rid), None) if producer.encoding_of(rid).is_some() => {
                        (place, producer.encoding_of(rid)?, StreamKind::Media)
                    }
                    // A rid that the producer never announced tells nothing.
                    _ if producer.encodings.len() == 1 => {
                        (place, 0, producer.stream_of(label.payload_type)?)
                    }
                    _ => return None,
                }
            }
            (None, rid, repaired_rid) if rid.or(repaired_rid).is_some() => {
                let stream = if repaired_rid.is_some() {
                    StreamKind::Rtx
                } else {
                    StreamKind::Media
                };
                let wanted = repaired_rid.or(rid)?;
                let mut found = self
                    .producers
                    .iter()
                    .enumerate()
                    .filter_map(|(place, one)| {
                        one.encoding_of(wanted).map(|encoding| (place, encoding))
                    });
                let (place, encoding) = found.next()?;
                if found.next().is_some() {
                    return None;
                }
                (place, encoding, stream)
            }
            _ => return self.find_by_payload_type(label.payload_type),
        };
        let open = self.producers[place].encodings[encoding].open_to(stream, true);
        open.then_some((place, encoding, stream))
    }

    fn find_by_payload_type(&self, payload_type: u8) -> Option<(usize, usize, StreamKind)> {
        let mut owners = self
            .producers
            .iter()
            .enumerate()
            .filter_map(|(place, one)| {
                one.stream_of(payload_type)
                    .map(|stream| (place, one, stream))
            });
        let (place, producer, stream) = owners.next()?;
        let only = owners.next().is_none() && producer.encodings.len() == 1;
        (only && producer.encodings[0].open_to(stream, false)).then_some((place, 0, stream))
    }

    fn insert(&mut self, ssrc: u32, route: Route) {
        match self.by_ssrc.binary_search_by_key(&ssrc, |&(one, _)| one) {
            Ok(place) => self.by_ssrc[place].1 = route,
            Err(place) => self.by_ssrc.insert(place, (ssrc, route)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simulcast(index: u32, mid: &str, rids: &[&str]) -> ProducerLabel {
        let encoding = |rid: &&str| EncodingLabel {
            rid: Some((*rid).into()),
            ..Default::default()
        };
        ProducerLabel {
            producer: ProducerKey::for_test(index),
            mid: Some(mid.into()),
            encodings: rids.iter().map(encoding).collect(),
            payload_types: vec![(96, StreamKind::Media), (97, StreamKind::Rtx)],
            learned: 0,
        }
    }

    fn label<'a>(mid: &'a str, rid: &'a str, repaired: &'a str, payload_type: u8) -> Label<'a> {
        let some = |text: &'a str| (!text.is_empty()).then_some(text);
        Label {
            mid: some(mid),
            rid: some(rid),
            repaired_rid: some(repaired),
            payload_type,
        }
    }

    #[test]
    fn rtx_by_repaired_rid_can_come_before_its_media() {
        let mut routes = Routes::new(16, 16);
        routes.set(simulcast(1, "0", &["l", "h"]));
        let rtx = routes.learn(70, label("0", "", "h", 97)).expect("routed");
        assert_eq!((rtx.encoding, rtx.stream), (1, StreamKind::Rtx));
        let media = routes.learn(71, label("0", "h", "", 96)).expect("routed");
        assert_eq!((media.encoding, media.stream), (1, StreamKind::Media));
        assert_eq!(routes.by_ssrc(70), Some(rtx));
        assert_eq!(routes.by_ssrc(71), Some(media));
    }

    #[test]
    fn rid_alone_must_be_unique_in_the_transport() {
        let mut routes = Routes::new(16, 16);
        routes.set(simulcast(1, "0", &["l", "h"]));
        assert!(routes.learn(70, label("", "h", "", 96)).is_ok());
        routes.set(simulcast(2, "1", &["l", "h"]));
        assert_eq!(
            routes.learn(71, label("", "l", "", 96)),
            Err(Unrouted::Unknown)
        );
    }

    #[test]
    fn payload_type_routes_only_if_one_producer_owns_it() {
        let mut routes = Routes::new(16, 16);
        let mut single = simulcast(1, "0", &["x"]);
        single.encodings[0].rid = None;
        routes.set(single.clone());
        assert!(routes.learn(70, label("", "", "", 97)).is_ok());
        assert!(routes.learn(71, label("", "", "", 96)).is_ok());
        // Both streams are known now, so the payload type alone proves nothing.
        assert_eq!(
            routes.learn(72, label("", "", "", 96)),
            Err(Unrouted::Unknown)
        );
        single.producer = ProducerKey::for_test(2);
        single.mid = Some("1".into());
        routes.set(single);
        assert_eq!(
            routes.learn(73, label("", "", "", 96)),
            Err(Unrouted::Unknown)
        );
    }

    #[test]
    fn announced_ssrc_is_never_replaced_and_learned_one_is() {
        let mut routes = Routes::new(16, 16);
        let mut announced = simulcast(1, "0", &["h"]);
        announced.encodings[0].ssrc = Some((5, true));
        routes.set(announced);
        assert_eq!(
            routes.learn(6, label("0", "h", "", 96)),
            Err(Unrouted::Unknown)
        );
        assert!(routes.learn(7, label("0", "", "h", 97)).is_ok());
        assert!(routes.learn(8, label("0", "", "h", 97)).is_ok());
        assert!(routes.by_ssrc(7).is_none() && routes.by_ssrc(8).is_some());
    }

    #[test]
    fn learning_is_bounded() {
        let mut routes = Routes::new(16, 3);
        routes.set(simulcast(1, "0", &["h"]));
        for ssrc in 0..3 {
            assert!(routes.learn(ssrc, label("0", "h", "", 96)).is_ok());
        }
        assert_eq!(
            routes.learn(9, label("0", "h", "", 96)),
            Err(Unrouted::Full)
        );
    }

    #[test]
    fn removed_producer_leaves_no_route() {
        let mut routes = Routes::new(16, 16);
        routes.set(simulcast(1, "0", &["h"]));
        assert!(routes.learn(70, label("0", "h", "", 96)).is_ok());
        routes.remove(ProducerKey::for_test(1));
        assert_eq!(routes.by_ssrc(70), None);
        assert_eq!(
            routes.learn(70, label("0", "h", "", 96)),
            Err(Unrouted::Unknown)
        );
    }
}
