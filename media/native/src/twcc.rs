//! Arrival times of transport-wide numbers, and the feedback made of them.
/// Records arrivals on one transport and writes transport-cc feedback.
pub struct ArrivalRecorder(());
impl ArrivalRecorder {
    /// A recorder that has seen nothing.
    pub fn new() -> Self {
        todo!()
    }
    /// A packet with a transport-wide number arrived.
    pub fn record(&mut self, _transport_sequence_number: u16, _now_ns: u64) {
        todo!()
    }
    /// Appends one feedback packet for what arrived since the last; false if there is nothing
    /// (more) to say. Call until false, every 50 ms.
    pub fn write_feedback(
        &mut self,
        _sender_ssrc: u32,
        _media_ssrc: u32,
        _out: &mut Vec<u8>,
    ) -> bool {
        todo!()
    }
}
impl Default for ArrivalRecorder {
    fn default() -> Self {
        Self::new()
    }
}
