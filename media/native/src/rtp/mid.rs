//! The media identification of a stream (RFC 9143), where packets need it.

/// Longest mid (what the one-byte extension form carries).
pub const MID_LEN_MAX: usize = 16;

/// A mid without an allocation of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mid {
    bytes: [u8; MID_LEN_MAX],
    len: u8,
}

impl Mid {
    /// From its text; none at all if that is longer than [`MID_LEN_MAX`], which no extension carries.
    pub fn new(text: &str) -> Self {
        let mut mid = Self::default();
        if let Some(bytes) = mid.bytes.get_mut(..text.len()) {
            bytes.copy_from_slice(text.as_bytes());
            mid.len = text.len() as u8;
        }
        mid
    }

    /// Its text; empty without one.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mid_is_as_long_as_extensions_carry_or_nothing() {
        assert_eq!(Mid::new("a").as_bytes(), b"a");
        assert_eq!(Mid::new("0123456789abcdef").as_bytes(), b"0123456789abcdef");
        assert_eq!(Mid::new("0123456789abcdefg").as_bytes(), b"");
        assert_eq!(Mid::new(""), Mid::default());
    }
}
