//! The packets of one encoding, kept for retransmission. One per producer encoding.
/// A bounded ring of packets in contiguous memory.
pub struct PacketCache(());
/// A cached packet.
#[derive(Clone, Copy, Debug)]
pub struct CachedPacket<'a> {
    /// The decrypted incoming packet.
    pub data: &'a [u8],
    /// When it arrived.
    pub received_ns: u64,
}
impl PacketCache {
    /// Bounds: bytes, packets (rounded up to a power of two) and age.
    pub fn new(_bytes_max: usize, _packets_max: usize, _age_ns_max: u64) -> Self {
        todo!()
    }
    /// Room for a packet of at most `len_max` bytes, to decrypt into. Not in the cache until `commit`.
    pub fn reserve(&mut self, _len_max: usize) -> &mut [u8] {
        todo!()
    }
    /// Puts the reserved bytes into the cache and returns them.
    pub fn commit(&mut self, _sequence: u64, _len: usize, _now_ns: u64) -> &[u8] {
        todo!()
    }
    /// A packet by extended sequence number.
    pub fn lookup(&self, _sequence: u64, _now_ns: u64) -> Option<CachedPacket<'_>> {
        todo!()
    }
}
