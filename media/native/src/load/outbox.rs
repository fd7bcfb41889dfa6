//! Datagrams that are to be sent, in order.

/// Datagrams of all clients in one buffer, which keeps its room.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    items: Vec<(u32, usize)>,
}

impl Outbox {
    /// Appends a datagram of a client.
    pub fn push(&mut self, client: u32, datagram: &[u8]) {
        self.bytes.extend(datagram);
        self.items.push((client, self.bytes.len()));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All datagrams, with whose they are.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let starts = std::iter::once(0).chain(self.items.iter().map(|(_, end)| *end));
        self.items
            .iter()
            .zip(starts)
            .map(|(&(client, end), start)| (client, &self.bytes[start..end]))
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
    }
}
