//! A publisher of three spatial layers in one stream of VP9, a packet each.

use _native::codec::vp9::Descriptor;
use _native::wire::orders::{Order, SetConsumer};

use crate::support::peer::{Received, Stream};
use crate::support::rows::{self, Direction};
use crate::support::{MS, Peer, World};

/// The publisher, which is the first peer, and viewers of what it sends.
pub(crate) struct Svc {
    pub(crate) world: World,
    picture_id: u16,
    /// Bytes of a packet of the lowest layer, of the next one twice that; 0: as few as can be.
    pub(crate) bytes: usize,
}

impl Svc {
    pub(crate) fn new(mut world: World, mode: &str) -> Self {
        world.join("send", Direction::Send);
        world.order(Order::SetProducer(rows::svc("p", "send", 1111, mode)));
        let mut stream = Stream::video(1111);
        (stream.step, stream.picture) = (0, None);
        world.peers[0].add(stream);
        Self {
            world,
            picture_id: 70,
            bytes: 100,
        }
    }

    /// Adds a viewer of at most that layer.
    pub(crate) fn join(&mut self, place: usize, spatial_layer: Option<u32>) -> usize {
        let peer = self.world.join(&format!("recv{place}"), Direction::Recv);
        self.want(place, spatial_layer);
        peer
    }

    /// Has a viewer sent at most that layer.
    pub(crate) fn want(&mut self, place: usize, spatial_layer: Option<u32>) {
        self.world.order(Order::SetConsumer(SetConsumer {
            spatial_layer,
            ..rows::view_vp9(&format!("c{place}"), &format!("recv{place}"), "p", 5000)
        }));
    }

    /// The packets of the next picture, one a spatial layer, not sent yet.
    pub(crate) fn picture(&mut self, key: bool) -> Vec<Vec<u8>> {
        let packets = (0..3u8).map(|layer| {
            let predicted = if key { 0 } else { 0x40 };
            let id = (self.picture_id | 0x8000).to_be_bytes();
            let upper = u8::from(layer > 0 && key);
            let first = 0xac | predicted;
            let mut payload = vec![first, id[0], id[1], layer << 1 | upper, 9, 1, 2, 3];
            payload.resize(payload.len().max(self.bytes << layer), 7);
            self.world.peers[0].streams[0].marker = layer == 2;
            self.world.peers[0].packet_with(0, &payload)
        });
        let packets = packets.collect();
        self.picture_id += 1;
        self.world.peers[0].streams[0].timestamp += 3_000;
        packets
    }

    /// Sends so many at 30 a second; the first may be a keyframe.
    pub(crate) fn pictures(&mut self, count: usize, key: bool) {
        for place in 0..count {
            for datagram in self.picture(key && place == 0) {
                self.world.send(0, datagram);
            }
            self.world.advance(33 * MS);
        }
    }

    /// How often a keyframe was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.world.peers[0].plis(1111)
    }
}

/// Picture id and spatial layer.
pub(crate) fn frame_of(received: &Received) -> (u16, u8) {
    let descriptor = Descriptor::parse(&received.payload).expect("VP9");
    let layer = descriptor.layers.expect("has layers").spatial_layer;
    (descriptor.picture_id.expect("has one").value, layer)
}

/// What a viewer was sent.
pub(crate) fn seen(peer: &Peer) -> Vec<(u16, u8)> {
    peer.media(5000).iter().map(|one| frame_of(one)).collect()
}
