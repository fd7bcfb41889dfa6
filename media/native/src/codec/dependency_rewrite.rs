//! Rewrites dependency descriptors for one viewer (RTP Payload Format For AV1, appendix A).
//!
//! Three things are a viewer's own. *Frame numbers* run on when it is switched to another encoding,
//! whose frames are counted apart. So do *template ids*, lest a frame of the new encoding be taken for
//! one of the old, whose structure the viewer still has. And the *active decode targets* say which
//! layers it is sent, so that it waits for no others. Frame differences and chains are distances: they
//! stay what they are, for a switch begins with a keyframe. Everything else is copied bit by bit.

use super::dependency_descriptor::{
    Bits, DependencyDescriptor, FLAGS_END, MANDATORY, TEMPLATES_MAX,
};

/// Bytes that an extension's value can have (RFC 8285, 4.3).
pub const VALUE_LEN_MAX: usize = 255;

/// Bytes that a descriptor grows by at most: flags, a bit mask of 32.
pub const GROWTH_MAX: usize = 5;

/// Where `template_dependency_structure_present_flag` and `active_decode_targets_present_flag` are.
const STRUCTURE_FLAG: usize = MANDATORY;
const ACTIVE_FLAG: usize = MANDATORY + 1;

/// Decode targets that a viewer is sent, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveTargets {
    /// The lowest bit is target 0's.
    pub mask: u32,
    /// How many targets the structure has, 1–32.
    pub count: u8,
}

/// What changes in a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DescriptorEdit {
    /// Added to the frame number.
    pub frame_number: u16,
    /// Added to template ids, modulo 64.
    pub template_id: u8,
    /// Written in place of what the publisher says, if anything; None leaves that.
    pub active: Option<ActiveTargets>,
}

impl DescriptorEdit {
    /// Whether nothing changes.
    pub fn is_identity(&self) -> bool {
        *self == Self::default()
    }

    /// Writes the edited value into `out` and returns its length. `None` if it is truncated, or
    /// would be longer than an extension can be: then it is best left as it is.
    pub fn apply(&self, value: &[u8], out: &mut [u8; VALUE_LEN_MAX]) -> Option<usize> {
        let kept = out.get_mut(..value.len())?;
        kept.copy_from_slice(value);
        let [first, n0, n1] = *value.first_chunk()?;
        out[0] = first & 0xc0 | moved(first & 0x3f, self.template_id);
        let number = u16::from_be_bytes([n0, n1]).wrapping_add(self.frame_number);
        out[1..3].copy_from_slice(&number.to_be_bytes());
        let flag = |at: usize| {
            value
                .get(at / 8)
                .is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
        };
        if flag(STRUCTURE_FLAG) {
            let mut bits = Bits::at(value, FLAGS_END);
            let offset = moved(bits.read(6)? as u8, self.template_id);
            put(out, FLAGS_END, u32::from(offset), 6);
        }
        let Some(active) = self.active else {
            return Some(value.len());
        };
        let before = match flag(STRUCTURE_FLAG) {
            true => DependencyDescriptor::parse_with_end(value)?.1,
            false => FLAGS_END,
        };
        let count = usize::from(active.count);
        let behind = before + if flag(ACTIVE_FLAG) { count } else { 0 };
        let rest = (value.len() * 8).saturating_sub(behind);
        let len = (before + count + rest).div_ceil(8);
        if len > VALUE_LEN_MAX {
            return None;
        }
        // A short descriptor has no flags yet.
        out[value.len().min(len)..len].fill(0);
        put(out, ACTIVE_FLAG, 1, 1);
        put(out, before, active.mask, count);
        let mut bits = Bits::at(value, behind);
        for at in 0..rest {
            put(out, before + count + at, bits.read(1)?, 1);
        }
        let end = before + count + rest;
        put(out, end, 0, len * 8 - end);
        Some(len)
    }
}

fn moved(template_id: u8, by: u8) -> u8 {
    template_id.wrapping_add(by) % TEMPLATES_MAX as u8
}

/// Writes the lowest `count` bits of a value.
fn put(out: &mut [u8], at: usize, value: u32, count: usize) {
    for place in 0..count {
        let bit = 0x80 >> ((at + place) % 8);
        let byte = &mut out[(at + place) / 8];
        match value >> (count - 1 - place) & 1 {
            0 => *byte &= !bit,
            _ => *byte |= bit,
        }
    }
}

#[cfg(test)]
#[path = "dependency_rewrite_tests.rs"]
mod tests;
