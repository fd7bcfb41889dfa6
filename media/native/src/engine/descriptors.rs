//! Picture numbers and dependency descriptors: what of a packet's codec is another one for each viewer.

use super::consumer::Consumer;
use super::encoding::Encoding;
use super::filter::{ALL, Structure};
use super::picture::{FrameFields, PictureFields};
use super::producer::{CodecEntry, Pending, Producer};
use crate::codec::dependency_rewrite::{ActiveTargets, DescriptorEdit, VALUE_LEN_MAX};
use crate::codec::{Codec, vp8, vp9};
use crate::rtp::{ExtensionKind, RtpPacket};

/// The picture numbers of a batch, if viewers may be switched between encodings or layers.
pub(super) fn pictures(
    producer: &Producer,
    batch: &[Pending],
    packets: &[Option<RtpPacket<'_>>],
) -> Vec<Option<PictureFields>> {
    let switched = producer.encodings.len() > 1 || batch.iter().any(|one| one.info.is_layered);
    let numbered = producer.codecs.iter().any(numbers_pictures)
        || producer
            .extensions
            .id(ExtensionKind::DependencyDescriptor)
            .is_some();
    if !(switched && numbered) {
        return Vec::new();
    }
    packets
        .iter()
        .map(|packet| picture_of(producer, packet.as_ref()?))
        .collect()
}

fn numbers_pictures(entry: &CodecEntry) -> bool {
    matches!(entry.codec, Some(Codec::Vp8 | Codec::Vp9))
}

/// The picture and frame numbers of a packet, if it has any.
pub(super) fn picture_of(producer: &Producer, packet: &RtpPacket<'_>) -> Option<PictureFields> {
    let codec = producer.codec_of(packet.header.payload_type)?;
    let picture = match codec.codec? {
        Codec::Vp8 => vp8::Descriptor::parse(packet.payload()).map(|one| (&one).into()),
        Codec::Vp9 => vp9::Descriptor::parse(packet.payload()).map(|one| (&one).into()),
        _ => None,
    };
    let id = producer.extensions.id(ExtensionKind::DependencyDescriptor);
    let value = id.and_then(|id| packet.extensions().filter(|one| one.0 == id).last());
    let Some(frame) = value.and_then(|(_, value)| FrameFields::parse(value)) else {
        return picture;
    };
    Some(PictureFields {
        frame: Some(frame),
        ..picture.unwrap_or_default()
    })
}

/// The decode targets that a frame's descriptor tells a viewer of, if it must be told: it is sent
/// fewer than the publisher sends, or was before.
pub(super) fn targets_of(
    consumer: &mut Consumer,
    encoding: &Encoding,
    descriptor: &[u8],
) -> Option<ActiveTargets> {
    let starts_frame = descriptor.first().is_some_and(|first| first & 0x80 != 0);
    if !starts_frame || consumer.selection.current() != Some(consumer.rewriter.encoding()?) {
        return None;
    }
    let layers = consumer.filter.current();
    if layers == (ALL, ALL) && !consumer.rewriter.tells_targets(false) {
        return None;
    }
    let one = encoding.structure == Structure::Key;
    let (targets, are_fewer) = encoding.layers.targets_for(descriptor, layers, one)?;
    let tells = consumer.rewriter.tells_targets(are_fewer);
    tells.then_some(targets)
}

/// Room for a dependency descriptor that was edited; None until one is, as few are.
pub(super) type EditedDescriptor = Option<[u8; VALUE_LEN_MAX]>;

/// The dependency descriptor that a viewer gets in place of the publisher's; None for that.
#[inline]
pub(super) fn edited<'a>(
    edit: &DescriptorEdit,
    descriptor: Option<&[u8]>,
    out: &'a mut EditedDescriptor,
) -> Option<&'a [u8]> {
    let descriptor = descriptor.filter(|_| !edit.is_identity())?;
    let plain = DescriptorEdit {
        active: None,
        ..*edit
    };
    let out = out.insert([0; VALUE_LEN_MAX]);
    let len = edit.apply(descriptor, out);
    let len = len.or_else(|| plain.apply(descriptor, out))?;
    Some(&out[..len])
}
