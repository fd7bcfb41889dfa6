//! Losses of a received stream: NACKs to its sender, and RFC 3550 statistics.
use crate::rtcp::ReportBlock;
/// Finds losses and says when to NACK them.
pub struct LossDetector(());
impl LossDetector {
    /// A detector that has seen nothing.
    pub fn new() -> Self {
        todo!()
    }
    /// A packet arrived (also one recovered by RTX).
    pub fn record(&mut self, _sequence: u64, _now_ns: u64) {
        todo!()
    }
    /// Writes the numbers to NACK now into `lost` (cleared first); true if a loss was given up, so that a keyframe is due.
    pub fn poll(&mut self, _now_ns: u64, _rtt_ns: u64, _lost: &mut Vec<u16>) -> bool {
        todo!()
    }
    /// When `poll` has something to do next.
    pub fn deadline_ns(&self) -> Option<u64> {
        todo!()
    }
}
impl Default for LossDetector {
    fn default() -> Self {
        Self::new()
    }
}
/// Receiver statistics of one SSRC (RFC 3550, A.3 and A.8).
pub struct ReceiverStatistics(());
impl ReceiverStatistics {
    /// Statistics of a source with a clock rate in Hz.
    pub fn new(_ssrc: u32, _clock_rate: u32) -> Self {
        todo!()
    }
    /// A packet arrived.
    pub fn record(&mut self, _sequence: u64, _timestamp: u32, _now_ns: u64) {
        todo!()
    }
    /// A sender report arrived.
    pub fn record_sender_report(&mut self, _ntp_timestamp: u64, _now_ns: u64) {
        todo!()
    }
    /// The next report block; starts a new interval.
    pub fn report(&mut self, _now_ns: u64) -> ReportBlock {
        todo!()
    }
}
