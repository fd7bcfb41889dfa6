//! Where H.264 frames start (RFC 6184; H.264, 7.3), in packetization modes 0 and 1.

use super::PayloadInfo;

const SLICE: u8 = 1;
const IDR_SLICE: u8 = 5;
const SUPPLEMENTAL_INFORMATION: u8 = 6;
const SEQUENCE_PARAMETER_SET: u8 = 7;
const PICTURE_PARAMETER_SET: u8 = 8;
const ACCESS_UNIT_DELIMITER: u8 = 9;
const AGGREGATION_A: u8 = 24;
const FRAGMENTATION_A: u8 = 28;

/// A keyframe starts with a sequence parameter set, or with the first slice of an IDR picture where
/// the parameter sets travel outside of the stream.
pub(super) fn inspect(payload: &[u8]) -> PayloadInfo {
    match payload {
        [head, body @ ..] if head & 0x1f == AGGREGATION_A => inspect_aggregate(body),
        [head, fragment, body @ ..] if head & 0x1f == FRAGMENTATION_A => {
            let starts_unit = fragment & 0x80 != 0;
            if starts_unit {
                inspect_unit(fragment & 0x1f, body)
            } else {
                PayloadInfo::default()
            }
        }
        [head, body @ ..] => inspect_unit(head & 0x1f, body),
        [] => PayloadInfo::default(),
    }
}

/// STAP-A: units, each behind its length in two bytes. One that is truncated ends it.
fn inspect_aggregate(mut units: &[u8]) -> PayloadInfo {
    let mut info = PayloadInfo::default();
    while let Some((len, rest)) = units.split_first_chunk() {
        let Some((unit, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
        else {
            break;
        };
        if let [head, body @ ..] = unit {
            let unit = inspect_unit(head & 0x1f, body);
            info.keyframe |= unit.keyframe;
            info.start_of_frame |= unit.start_of_frame;
        }
        units = rest;
    }
    info
}

/// One NAL unit by its type and what follows its header.
fn inspect_unit(kind: u8, body: &[u8]) -> PayloadInfo {
    // first_mb_in_slice, Exp-Golomb coded: zero is a single one bit.
    let is_first_slice = body.first().is_some_and(|byte| byte & 0x80 != 0);
    let start_of_frame = match kind {
        SLICE | IDR_SLICE => is_first_slice,
        SUPPLEMENTAL_INFORMATION
        | SEQUENCE_PARAMETER_SET
        | PICTURE_PARAMETER_SET
        | ACCESS_UNIT_DELIMITER => !body.is_empty(),
        _ => false,
    };
    let keyframe = start_of_frame && matches!(kind, IDR_SLICE | SEQUENCE_PARAMETER_SET);
    PayloadInfo::unlayered(keyframe, start_of_frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: PayloadInfo = PayloadInfo::unlayered(false, false);
    const FRAME: PayloadInfo = PayloadInfo::unlayered(false, true);
    const KEYFRAME: PayloadInfo = PayloadInfo::unlayered(true, true);

    #[test]
    fn single_units() {
        assert_eq!(inspect(&[0x67, 0x42]), KEYFRAME);
        assert_eq!(inspect(&[0x68, 0xce]), FRAME);
        assert_eq!(inspect(&[0x65, 0x88]), KEYFRAME);
        assert_eq!(inspect(&[0x41, 0x9a]), FRAME);
        // Slices other than the first of their picture.
        assert_eq!(inspect(&[0x65, 0x08]), NOTHING);
        assert_eq!(inspect(&[0x41, 0x1a]), NOTHING);
        // Headers without a body.
        assert_eq!(inspect(&[0x67]), NOTHING);
        assert_eq!(inspect(&[0x65]), NOTHING);
    }

    #[test]
    fn aggregates_start_what_their_units_start() {
        let parameters = [0x78, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xce, 0, 2, 0x65, 0x88];
        assert_eq!(inspect(&parameters), KEYFRAME);
        assert_eq!(inspect(&[0x78, 0, 2, 0x41, 0x9a]), FRAME);
        assert_eq!(
            inspect(&[0x78, 0, 2, 0x41, 0x1a, 0, 9, 0x67, 0x42]),
            NOTHING
        );
        assert_eq!(inspect(&[0x78, 0, 0, 0, 0]), NOTHING);
    }

    #[test]
    fn only_the_first_fragment_starts_a_frame() {
        assert_eq!(inspect(&[0x7c, 0x85, 0x88]), KEYFRAME);
        assert_eq!(inspect(&[0x7c, 0x05, 0x88]), NOTHING);
        assert_eq!(inspect(&[0x7c, 0x45, 0x88]), NOTHING);
        assert_eq!(inspect(&[0x5c, 0x81, 0x9a]), FRAME);
        assert_eq!(inspect(&[0x7c, 0x85, 0x08]), NOTHING);
        assert_eq!(inspect(&[0x7c]), NOTHING);
    }
}
