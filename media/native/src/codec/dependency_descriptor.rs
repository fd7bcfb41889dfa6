//! The dependency descriptor (RTP Payload Format For AV1, appendix A).
//!
//! Read are the mandatory fields, the active decode targets and, where it is there, the template
//! dependency structure with the layers of its templates and their decode target indications. Frame
//! differences and chains are skipped: they serve receivers that look for broken references.

/// Templates of a structure; their ids have six bits.
pub const TEMPLATES_MAX: usize = 64;

/// Decode targets of a structure.
pub const DECODE_TARGETS_MAX: usize = 32;

/// Spatial layers of a structure; their ids have two bits.
pub const SPATIAL_LAYERS_MAX: usize = 4;

const TEMPORAL_LAYERS_MAX: u8 = 8;

/// Bits of the mandatory fields.
pub(super) const MANDATORY: usize = 24;
/// Behind the five flags that follow them.
pub(super) const FLAGS_END: usize = MANDATORY + 5;

/// What the descriptor of one packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DependencyDescriptor {
    /// The packet starts a frame.
    pub start_of_frame: bool,
    /// The packet ends a frame.
    pub end_of_frame: bool,
    /// Template that the frame follows; to be read with the latest structure.
    pub template_id: u8,
    /// Number of the frame, in decode order.
    pub frame_number: u16,
    /// A structure, which comes with keyframes.
    pub structure: Option<Box<TemplateStructure>>,
    /// Decode targets that are active from here on, a bit each. Only read with a structure, for
    /// without it their number is unknown.
    pub active_decode_targets: Option<u32>,
}

/// The layers of a stream and what each kind of frame in it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateStructure {
    /// Template id of the first template.
    pub template_id_offset: u8,
    /// Number of decode targets, 1–32.
    pub decode_target_count: u8,
    /// At most `TEMPLATES_MAX`.
    pub templates: Vec<Template>,
    /// Width and height of each spatial layer, if they are given.
    pub resolutions: Vec<(u32, u32)>,
    /// (spatial, temporal) layers of each decode target: the highest of its templates. None for one
    /// that nothing is part of.
    pub target_layers: Vec<Option<(u8, u8)>>,
}

impl TemplateStructure {
    /// The template of an id.
    pub fn template(&self, template_id: u8) -> Option<&Template> {
        let modulus = TEMPLATES_MAX as u8;
        let at = (template_id + modulus - self.template_id_offset) % modulus;
        self.templates.get(usize::from(at))
    }

    /// The decode targets that are whole for who is sent the layers up to these, a bit each. `one`:
    /// of the spatial layers only the highest is sent (k-SVC).
    pub fn targets_up_to(&self, spatial: u8, temporal: u8, one: bool) -> u32 {
        let highest = self.target_layers.iter().flatten().map(|layers| layers.0);
        let spatial = spatial.min(highest.max().unwrap_or(0));
        let is_sent = |layers: (u8, u8)| {
            layers.1 <= temporal && layers.0 <= spatial && (!one || layers.0 == spatial)
        };
        let targets = self.target_layers.iter().enumerate();
        targets
            .filter(|(_, layers)| layers.is_some_and(is_sent))
            .fold(0, |mask, (target, _)| mask | 1 << target)
    }
}

/// A kind of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// Spatial layer, 0–3.
    pub spatial_layer: u8,
    /// Temporal layer, 0–7.
    pub temporal_layer: u8,
    /// For each decode target two bits: 0 not present, 1 discardable, 2 switch, 3 required. The
    /// lowest bits are target 0's.
    pub indications: u64,
}

impl Template {
    /// The indication of a decode target.
    pub fn indication(&self, decode_target: u8) -> DecodeTargetIndication {
        match self.indications >> (2 * u32::from(decode_target & 31)) & 3 {
            0 => DecodeTargetIndication::NotPresent,
            1 => DecodeTargetIndication::Discardable,
            2 => DecodeTargetIndication::Switch,
            _ => DecodeTargetIndication::Required,
        }
    }
}

/// What a frame is to a decode target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeTargetIndication {
    /// Not part of it.
    NotPresent,
    /// Part of it, and no later frame needs it.
    Discardable,
    /// Part of it; from here on it can be decoded with what was decoded so far.
    Switch,
    /// Part of it.
    Required,
}

impl DependencyDescriptor {
    /// Parses the extension's value. `None` if the mandatory fields or an announced structure are
    /// truncated, or the structure exceeds its bounds.
    pub fn parse(value: &[u8]) -> Option<Self> {
        Some(Self::parse_with_end(value)?.0)
    }

    /// As [`Self::parse`], with the decode targets of a descriptor without a structure, too: their
    /// number is that of the structure that it follows.
    pub fn parse_after(value: &[u8], structure: Option<&TemplateStructure>) -> Option<Self> {
        let mut descriptor = Self::parse(value)?;
        let follows = structure.filter(|_| descriptor.structure.is_none() && value.len() > 3);
        if let Some(structure) = follows
            && value[3] & 0x40 != 0
        {
            let count = u32::from(structure.decode_target_count);
            descriptor.active_decode_targets = Bits::at(value, FLAGS_END).read(count);
        }
        Some(descriptor)
    }

    /// Also the number of bits up to the end of the structure; without one, of the flags.
    pub(super) fn parse_with_end(value: &[u8]) -> Option<(Self, usize)> {
        let [first, n0, n1] = *value.first_chunk()?;
        let mut descriptor = Self {
            start_of_frame: first & 0x80 != 0,
            end_of_frame: first & 0x40 != 0,
            template_id: first & 0x3f,
            frame_number: u16::from_be_bytes([n0, n1]),
            structure: None,
            active_decode_targets: None,
        };
        let mut bits = Bits::at(value, MANDATORY);
        if value.len() == 3 || bits.read(1)? == 0 {
            return Some((descriptor, FLAGS_END));
        }
        let has_active_decode_targets = bits.read(1)? == 1;
        bits.read(3)?; // custom indications, frame differences and chains
        let structure = read_structure(&mut bits)?;
        let end = bits.at;
        let count = u32::from(structure.decode_target_count);
        descriptor.active_decode_targets = Some(match has_active_decode_targets {
            true => bits.read(count)?,
            false => u32::MAX >> (32 - count),
        });
        descriptor.structure = Some(Box::new(structure));
        Some((descriptor, end))
    }
}

fn read_structure(bits: &mut Bits<'_>) -> Option<TemplateStructure> {
    let template_id_offset = bits.read(6)? as u8;
    let decode_target_count = bits.read(5)? as u8 + 1;
    let mut templates = read_layers(bits)?;
    for template in &mut templates {
        for target in 0..u32::from(decode_target_count) {
            template.indications |= u64::from(bits.read(2)?) << (2 * target);
        }
    }
    for _ in &templates {
        while bits.read(1)? == 1 {
            bits.read(4)?;
        }
    }
    let chains = bits.read_non_symmetric(u32::from(decode_target_count) + 1)?;
    if chains > 0 {
        for _ in 0..decode_target_count {
            bits.read_non_symmetric(chains)?;
        }
        for _ in 0..templates.len() as u32 * chains {
            bits.read(4)?;
        }
    }
    let mut resolutions = Vec::new();
    if bits.read(1)? == 1 {
        let spatial_layers = templates.last()?.spatial_layer + 1;
        for _ in 0..spatial_layers {
            resolutions.push((bits.read(16)? + 1, bits.read(16)? + 1));
        }
    }
    let target_layers = (0..decode_target_count)
        .map(|target| layers_of(&templates, target))
        .collect();
    Some(TemplateStructure {
        template_id_offset,
        decode_target_count,
        templates,
        resolutions,
        target_layers,
    })
}

fn layers_of(templates: &[Template], target: u8) -> Option<(u8, u8)> {
    let of = templates
        .iter()
        .filter(|one| one.indication(target) != DecodeTargetIndication::NotPresent);
    of.map(|one| (one.spatial_layer, one.temporal_layer))
        .reduce(|high, one| (high.0.max(one.0), high.1.max(one.1)))
}

/// The layers of the templates, each told by its difference from the one before.
fn read_layers(bits: &mut Bits<'_>) -> Option<Vec<Template>> {
    let mut templates = Vec::new();
    let (mut spatial_layer, mut temporal_layer) = (0, 0);
    loop {
        templates.push(Template {
            spatial_layer,
            temporal_layer,
            indications: 0,
        });
        match bits.read(2)? {
            0 => {}
            1 => temporal_layer += 1,
            2 => (spatial_layer, temporal_layer) = (spatial_layer + 1, 0),
            _ => return Some(templates),
        }
        let is_bounded = templates.len() < TEMPLATES_MAX
            && usize::from(spatial_layer) < SPATIAL_LAYERS_MAX
            && temporal_layer < TEMPORAL_LAYERS_MAX;
        if !is_bounded {
            return None;
        }
    }
}

/// Reads bits from the highest to the lowest of each byte.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    /// Begins behind so many bits.
    pub(super) fn at(data: &'a [u8], at: usize) -> Self {
        Self { data, at }
    }

    /// An unsigned number of at most 32 bits, f(n).
    pub(super) fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.data.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// A number below `bound`, which is not zero, in a code of two lengths, ns(n).
    fn read_non_symmetric(&mut self, bound: u32) -> Option<u32> {
        let width = 32 - bound.leading_zeros();
        let short = (1 << width) - bound;
        let value = self.read(width - 1)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + self.read(1)?)
    }
}

#[cfg(test)]
#[path = "dependency_descriptor_tests.rs"]
pub(super) mod tests;
