//! Sequence numbers and timestamps: unwrapping, and what one consumer sees of them.
/// Extends 16-bit sequence numbers to 64 bits. Starts in [65536, 131071], so that packets from
/// before the first one have room.
#[derive(Clone, Debug, Default)]
pub struct SequenceUnwrapper {
    highest: Option<u64>,
}
impl SequenceUnwrapper {
    /// Extends a number to the value nearest to the highest seen.
    pub fn unwrap(&mut self, _sequence_number: u16) -> u64 {
        let _ = self.highest;
        todo!()
    }
}
/// Maps a producer's extended sequence numbers to the ones that a consumer sees.
#[derive(Clone, Debug)]
pub struct SequenceMap(());
impl SequenceMap {
    /// The first incoming number and the outgoing one that it becomes.
    pub fn new(_first_incoming: u64, _first_outgoing: u64) -> Self {
        todo!()
    }
    /// The outgoing number of a packet that is sent. `None`: dropped before, or too old.
    pub fn forward(&mut self, _incoming: u64) -> Option<u64> {
        todo!()
    }
    /// Leaves a packet out without a gap.
    pub fn drop(&mut self, _incoming: u64) {
        todo!()
    }
    /// The incoming number that was sent as `outgoing`.
    pub fn source(&self, _outgoing: u64) -> Option<u64> {
        todo!()
    }
    /// The next unused outgoing number.
    pub fn next_outgoing(&self) -> u64 {
        todo!()
    }
}
