//! The AV1 aggregation header (RTP Payload Format For AV1, 4.4).

use super::PayloadInfo;
use super::dependency_descriptor::DependencyDescriptor;

/// The first byte of an AV1 payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AggregationHeader {
    /// Z: the first OBU element continues one of the packet before.
    pub continues: bool,
    /// Y: the last OBU element goes on in the next packet.
    pub goes_on: bool,
    /// W: how many OBU elements there are; 0 if each bears its length.
    pub element_count: u8,
    /// N: the packet starts a coded video sequence, hence with a keyframe.
    pub starts_sequence: bool,
}

impl AggregationHeader {
    /// Parses the start of a payload; `None` if it has no OBU, or contradicts itself (a sequence
    /// can't start with a continuation).
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let [first, _, ..] = payload else {
            return None;
        };
        let header = Self {
            continues: first & 0x80 != 0,
            goes_on: first & 0x40 != 0,
            element_count: first >> 4 & 0x03,
            starts_sequence: first & 0x08 != 0,
        };
        (!(header.continues && header.starts_sequence)).then_some(header)
    }
}

/// The dependency descriptor tells all, where it is there; a keyframe bears its structure.
pub(super) fn inspect(payload: &[u8], dependency_descriptor: Option<&[u8]>) -> PayloadInfo {
    let Some(header) = AggregationHeader::parse(payload) else {
        return PayloadInfo::default();
    };
    let described = dependency_descriptor
        .and_then(DependencyDescriptor::parse)
        .map(|descriptor| PayloadInfo {
            keyframe: descriptor.start_of_frame && descriptor.structure.is_some(),
            start_of_frame: descriptor.start_of_frame,
            end_of_frame: descriptor.end_of_frame,
            ..PayloadInfo::default()
        })
        .unwrap_or_default();
    PayloadInfo {
        keyframe: described.keyframe || header.starts_sequence,
        start_of_frame: described.start_of_frame || header.starts_sequence,
        is_layer_start: described.keyframe || header.starts_sequence,
        ..described
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_starts_with_a_keyframe() {
        assert!(inspect(&[0x18, 0x0a], None).keyframe);
        assert_eq!(inspect(&[0x10, 0x32], None), PayloadInfo::default());
        // A continuation can't start a sequence.
        assert_eq!(inspect(&[0x98, 0x32], None), PayloadInfo::default());
        assert_eq!(inspect(&[0x18], None), PayloadInfo::default());
    }

    #[test]
    fn a_descriptor_tells_where_frames_start() {
        let start = inspect(&[0x10, 0x32], Some(&[0x80, 0, 1]));
        assert!(start.start_of_frame && !start.keyframe);
        let middle = inspect(&[0x90, 0x32], Some(&[0x40, 0, 1]));
        assert!(!middle.start_of_frame && middle.end_of_frame);
    }

    #[test]
    fn the_header_is_read_bit_by_bit() {
        assert_eq!(
            AggregationHeader::parse(&[0x68, 0]),
            Some(AggregationHeader {
                continues: false,
                goes_on: true,
                element_count: 2,
                starts_sequence: true,
            })
        );
    }
}
