//! What one address may ask of a worker, whoever it is: connectivity checks have to be looked into
//! before it is known whose they are.
//!
//! Each source, an address with its port, has a budget in a table of fixed size, at a place that
//! nobody outside can foretell. Sources that share a place share its budget; so a flood from many
//! forged addresses wears all of them out, which is why strangers have a budget together as well.

use std::net::{IpAddr, SocketAddr};

use super::meter::Budget;

/// Places of the table; 24 bytes each.
const PLACES: usize = 1024;

pub(crate) struct Sources {
    budgets: Box<[Budget]>,
    strangers: Budget,
    secret: u64,
}

impl Sources {
    /// So many STUN messages a second of each source, and of all without a verified check together.
    pub(crate) fn new(each_per_second: u32, strangers_per_second: u32, secret: u64) -> Self {
        Self {
            budgets: vec![Budget::new(each_per_second); PLACES].into_boxed_slice(),
            strangers: Budget::new(strangers_per_second),
            secret,
        }
    }

    /// Whether a message is to be looked into.
    pub(crate) fn take(&mut self, now_ns: u64, remote: SocketAddr, is_stranger: bool) -> bool {
        let place = self.place(remote);
        self.budgets[place].take(now_ns) && (!is_stranger || self.strangers.take(now_ns))
    }

    fn place(&self, remote: SocketAddr) -> usize {
        let ip = match remote.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        let words = [(ip >> 64) as u64, ip as u64, u64::from(remote.port())];
        let mixed = words.into_iter().fold(self.secret, |mixed, word| {
            let mixed = (mixed ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            mixed ^ mixed >> 29 ^ mixed >> 47
        });
        mixed as usize % PLACES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_spread_over_the_table() {
        let sources = Sources::new(1, 1, 77);
        let mut taken = vec![0; PLACES];
        for n in 0..4096_u32 {
            let ip = IpAddr::from([10, 0, (n >> 6) as u8, 7]);
            taken[sources.place(SocketAddr::new(ip, 40_000 + (n % 64) as u16))] += 1;
        }
        assert!(
            taken.iter().all(|&count| count < 24),
            "{:?}",
            taken.iter().max()
        );
    }
}
