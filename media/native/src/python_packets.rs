//! The packet layer's Python face, for tests and for clients: SRTP sessions and STUN messages.
//! The docstrings are in `media/_native.pyi`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::rtp::RtpHeader;
use crate::srtp::{Inbound, Outbound, OutboundStream, Profile, SOURCES_MAX, SrtpError as Reason};
use crate::stun::{
    BindingRequest, Class, IceRole, IntegrityKey, Message, StunError, TransactionId,
    write_binding_request, write_binding_success,
};

create_exception!(media._native, SrtpError, PyValueError);

fn failure(error: Reason) -> PyErr {
    SrtpError::new_err(error.to_string())
}

/// Both halves of a session, with the index of each SSRC that it sends.
#[pyclass(module = "media._native")]
pub(crate) struct SrtpSession {
    inbound: Inbound,
    outbound: Outbound,
    streams: HashMap<u32, OutboundStream>,
}

#[pymethods]
impl SrtpSession {
    #[new]
    fn new(profile: &str, local_key: &[u8], remote_key: &[u8]) -> PyResult<Self> {
        let profile = Profile::from_name(profile)
            .ok_or_else(|| PyValueError::new_err(format!("no SRTP profile: {profile}")))?;
        let (local, local_salt) = split(profile, local_key)?;
        let (remote, remote_salt) = split(profile, remote_key)?;
        Ok(Self {
            inbound: Inbound::new(profile, remote, remote_salt).map_err(failure)?,
            outbound: Outbound::new(profile, local, local_salt).map_err(failure)?,
            streams: HashMap::new(),
        })
    }

    fn protect_rtp<'py>(
        &mut self,
        py: Python<'py>,
        packet: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let header = RtpHeader::parse(packet).map_err(|_| failure(Reason::Malformed))?;
        let is_full = self.streams.len() >= SOURCES_MAX;
        if is_full && !self.streams.contains_key(&header.ssrc) {
            return Err(failure(Reason::TooManySources));
        }
        let stream = self.streams.entry(header.ssrc).or_default();
        let index = stream
            .index_near(header.sequence_number)
            .ok_or_else(|| failure(Reason::IndexReused))?;
        let mut out = packet.to_vec();
        out.resize(packet.len() + self.outbound.profile().rtp_overhead(), 0);
        let payload = &packet[header.header_len..];
        let len = self
            .outbound
            .protect_rtp(stream, index, &mut out, header.header_len, payload)
            .map_err(failure)?;
        Ok(PyBytes::new(py, &out[..len]))
    }

    fn unprotect_rtp<'py>(
        &mut self,
        py: Python<'py>,
        packet: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = vec![0; packet.len()];
        let done = self
            .inbound
            .unprotect_rtp(packet, &mut out)
            .map_err(failure)?;
        Ok(PyBytes::new(py, &out[..done.len]))
    }

    fn protect_rtcp<'py>(
        &mut self,
        py: Python<'py>,
        compound: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = vec![0; compound.len() + self.outbound.profile().rtcp_overhead()];
        let len = self
            .outbound
            .protect_rtcp(compound, &mut out)
            .map_err(failure)?;
        Ok(PyBytes::new(py, &out[..len]))
    }

    fn unprotect_rtcp<'py>(
        &mut self,
        py: Python<'py>,
        packet: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = vec![0; packet.len()];
        let len = self
            .inbound
            .unprotect_rtcp(packet, &mut out)
            .map_err(failure)?;
        Ok(PyBytes::new(py, &out[..len]))
    }

    fn __repr__(&self) -> String {
        format!("SrtpSession({:?})", self.outbound.profile().name())
    }
}

/// Key and salt, which follow each other as DTLS exports them.
fn split(profile: Profile, key: &[u8]) -> PyResult<(&[u8], &[u8])> {
    if key.len() == profile.key_len() + profile.salt_len() {
        Ok(key.split_at(profile.key_len()))
    } else {
        Err(failure(Reason::BadKeyLength))
    }
}

/// A parsed STUN message.
#[pyclass(module = "media._native", frozen)]
pub(crate) struct StunMessage {
    data: Vec<u8>,
}

impl StunMessage {
    /// Parsed before, so it parses again.
    fn message(&self) -> PyResult<Message<'_>> {
        Message::parse(&self.data).map_err(stun_error)
    }
}

#[pymethods]
impl StunMessage {
    #[getter]
    fn message_class(&self) -> PyResult<&'static str> {
        Ok(match self.message()?.class() {
            Class::Request => "request",
            Class::Indication => "indication",
            Class::Success => "success",
            Class::Error => "error",
        })
    }

    #[getter]
    fn method(&self) -> PyResult<u16> {
        Ok(self.message()?.method())
    }

    #[getter]
    fn transaction_id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.message()?.transaction_id().0))
    }

    #[getter]
    fn username(&self) -> PyResult<Option<String>> {
        Ok(self.message()?.username().map(str::to_owned))
    }

    #[getter]
    fn priority(&self) -> PyResult<Option<u32>> {
        Ok(self.message()?.priority())
    }

    #[getter]
    fn use_candidate(&self) -> PyResult<bool> {
        Ok(self.message()?.use_candidate())
    }

    #[getter]
    fn role(&self) -> PyResult<Option<(&'static str, u64)>> {
        Ok(self.message()?.role().map(|role| match role {
            IceRole::Controlling(tie_breaker) => ("controlling", tie_breaker),
            IceRole::Controlled(tie_breaker) => ("controlled", tie_breaker),
        }))
    }

    #[getter]
    fn xor_mapped_address(&self) -> PyResult<Option<(String, u16)>> {
        let address = self.message()?.xor_mapped_address();
        Ok(address.map(|address| (address.ip().to_string(), address.port())))
    }

    #[getter]
    fn error_code(&self) -> PyResult<Option<u16>> {
        Ok(self.message()?.error_code())
    }

    #[getter]
    fn unknown_attributes(&self) -> PyResult<Vec<u16>> {
        Ok(self.message()?.unknown_attributes().to_vec())
    }

    #[getter]
    fn has_fingerprint(&self) -> PyResult<bool> {
        Ok(self.message()?.has_fingerprint())
    }

    fn verify(&self, password: &str) -> PyResult<bool> {
        let key = IntegrityKey::new(password);
        Ok(self.message()?.verify_integrity(&key).is_ok())
    }
}

fn stun_error(error: StunError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn transaction(id: &[u8]) -> PyResult<TransactionId> {
    id.try_into()
        .map(TransactionId)
        .map_err(|_| PyValueError::new_err("a transaction id has 12 bytes"))
}

/// Parses one datagram.
#[pyfunction]
pub(crate) fn parse_stun(data: &[u8]) -> PyResult<StunMessage> {
    Message::parse(data).map_err(stun_error)?;
    Ok(StunMessage {
        data: data.to_vec(),
    })
}

/// Builds a connectivity check.
#[pyfunction]
#[pyo3(signature = (
    transaction_id, *, username, password, priority, tie_breaker, controlling = true,
    use_candidate = false,
))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments in Python")]
pub(crate) fn stun_binding_request<'py>(
    py: Python<'py>,
    transaction_id: &[u8],
    username: &str,
    password: &str,
    priority: u32,
    tie_breaker: u64,
    controlling: bool,
    use_candidate: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    if username.len() > 508 {
        return Err(PyValueError::new_err("a username has at most 508 bytes"));
    }
    let request = BindingRequest {
        transaction_id: transaction(transaction_id)?,
        username,
        priority,
        use_candidate,
        role: match controlling {
            true => IceRole::Controlling(tie_breaker),
            false => IceRole::Controlled(tie_breaker),
        },
    };
    let mut out = Vec::new();
    write_binding_request(&mut out, &request, &IntegrityKey::new(password));
    Ok(PyBytes::new(py, &out))
}

/// Builds the answer to a connectivity check.
#[pyfunction]
#[pyo3(signature = (transaction_id, *, mapped_address, password))]
pub(crate) fn stun_binding_success<'py>(
    py: Python<'py>,
    transaction_id: &[u8],
    mapped_address: (&str, u16),
    password: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let (ip, port) = mapped_address;
    let ip: IpAddr = ip
        .parse()
        .map_err(|_| PyValueError::new_err(format!("not an IP address: {ip}")))?;
    let mut out = Vec::new();
    write_binding_success(
        &mut out,
        transaction(transaction_id)?,
        SocketAddr::new(ip, port),
        &IntegrityKey::new(password),
    );
    Ok(PyBytes::new(py, &out))
}
