//! The load plane's Python face. The docstrings are in `media/_native.pyi`.

use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde::Serialize;

use crate::codec::Codec;
use crate::load::client::{ClientParameters, Event};
use crate::load::driver::{LoadPlane, PlaneGone};
use crate::load::ice::Credentials;
use crate::load::network::Conditions;
use crate::load::payload::Split;
use crate::load::receive_stream::ReceiverParameters;
use crate::load::send_stream::SenderParameters;
use crate::load::swarm::SwarmConfig;
use crate::rtp::ExtensionKind;
use crate::srtp::Profile;
use crate::wire::frame::encode;

/// A thread that carries the clients of a load test.
#[pyclass(name = "LoadPlane", module = "media._native")]
pub(crate) struct PyLoadPlane(LoadPlane);

fn gone(error: PlaneGone) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

fn codec_of(mime_type: &str) -> PyResult<Codec> {
    match Codec::from_mime_type(mime_type) {
        Some(codec @ (Codec::Opus | Codec::Vp8 | Codec::H264)) => Ok(codec),
        _ => Err(PyValueError::new_err(format!("no such codec: {mime_type}"))),
    }
}

#[derive(Serialize)]
struct Latencies {
    video: Vec<(u64, u64)>,
    audio: Vec<(u64, u64)>,
}

/// Kind, client, and a datagram where there is one.
type EventTuple<'py> = (&'static str, u32, Option<Bound<'py, PyBytes>>);

#[pymethods]
impl PyLoadPlane {
    #[new]
    #[pyo3(signature = (*, seed, origin, feedback_interval_ns))]
    fn new(seed: u64, origin: u32, feedback_interval_ns: u64) -> PyResult<Self> {
        let config = SwarmConfig {
            seed,
            origin,
            feedback_interval_ns,
        };
        Ok(Self(LoadPlane::start(config)?))
    }

    fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }

    fn events_fd(&self) -> i32 {
        self.0.events_fd()
    }

    #[pyo3(signature = (client, *, remote, ufrag, pwd, remote_ufrag, remote_pwd, loss_ppm = 0, delay_ns = 0, jitter_ns = 0))]
    #[allow(clippy::too_many_arguments)]
    fn add_client(
        &self,
        py: Python<'_>,
        client: u32,
        remote: &str,
        ufrag: String,
        pwd: String,
        remote_ufrag: String,
        remote_pwd: String,
        loss_ppm: u32,
        delay_ns: u64,
        jitter_ns: u64,
    ) -> PyResult<()> {
        let remote = remote
            .parse()
            .map_err(|_| PyValueError::new_err(format!("no address: {remote}")))?;
        let parameters = ClientParameters {
            client,
            remote,
            ours: Credentials { ufrag, pwd },
            theirs: Credentials {
                ufrag: remote_ufrag,
                pwd: remote_pwd,
            },
            conditions: Conditions {
                loss_ppm,
                delay_ns,
                jitter_ns,
            },
        };
        Ok(py.detach(|| self.0.add_client(parameters))?)
    }

    fn remove_client(&self, py: Python<'_>, client: u32) -> PyResult<()> {
        py.detach(|| self.0.remove_client(client)).map_err(gone)
    }

    fn set_srtp_keys(
        &self,
        py: Python<'_>,
        client: u32,
        profile: &str,
        local: Vec<u8>,
        remote: Vec<u8>,
    ) -> PyResult<()> {
        let profile = Profile::from_name(profile)
            .ok_or_else(|| PyValueError::new_err(format!("no SRTP profile: {profile}")))?;
        let len = profile.key_len() + profile.salt_len();
        if local.len() != len || remote.len() != len {
            return Err(PyValueError::new_err("keys of the wrong length"));
        }
        py.detach(|| self.0.set_keys(client, profile, local, remote))
            .map_err(gone)
    }

    #[pyo3(signature = (client, *, stream, mime_type, clock_rate, ssrc, rtx_ssrc, nack, pli, extensions))]
    #[allow(clippy::too_many_arguments)]
    fn add_receiver(
        &self,
        py: Python<'_>,
        client: u32,
        stream: u32,
        mime_type: &str,
        clock_rate: u32,
        ssrc: u32,
        rtx_ssrc: Option<u32>,
        nack: bool,
        pli: bool,
        extensions: Vec<(u8, String)>,
    ) -> PyResult<()> {
        let known: Vec<(u8, ExtensionKind)> = extensions
            .iter()
            .filter_map(|(id, uri)| Some((*id, ExtensionKind::from_uri(uri)?)))
            .collect();
        let parameters = ReceiverParameters {
            stream,
            codec: codec_of(mime_type)?,
            clock_rate: clock_rate.max(1),
            ssrc,
            rtx_ssrc,
            nack,
            pli,
        };
        py.detach(|| self.0.add_receiver(client, parameters, known))
            .map_err(gone)
    }

    #[pyo3(signature = (client, *, stream, mime_type, clock_rate, payload_type, ssrc, rtx, extensions, rtx_extensions, transport_cc_id, bitrate_bps, frame_interval_ns, units, even_split, start_ns))]
    #[allow(clippy::too_many_arguments)]
    fn add_sender(
        &self,
        py: Python<'_>,
        client: u32,
        stream: u32,
        mime_type: &str,
        clock_rate: u32,
        payload_type: u8,
        ssrc: u32,
        rtx: Option<(u32, u8)>,
        extensions: Vec<(u8, Vec<u8>)>,
        rtx_extensions: Vec<(u8, Vec<u8>)>,
        transport_cc_id: Option<u8>,
        bitrate_bps: u64,
        frame_interval_ns: u64,
        units: Vec<Vec<u8>>,
        even_split: bool,
        start_ns: u64,
    ) -> PyResult<()> {
        let fits =
            |(id, value): &(u8, Vec<u8>)| (1..=14).contains(id) && (1..=16).contains(&value.len());
        if !extensions.iter().chain(&rtx_extensions).all(fits)
            || transport_cc_id.is_some_and(|id| !(1..=14).contains(&id))
        {
            return Err(PyValueError::new_err(
                "an extension exceeds the one-byte form",
            ));
        }
        if units.is_empty() || units.iter().any(Vec::is_empty) || frame_interval_ns == 0 {
            return Err(PyValueError::new_err("no frames to send"));
        }
        let parameters = SenderParameters {
            stream,
            codec: codec_of(mime_type)?,
            clock_rate,
            payload_type: payload_type & 0x7f,
            ssrc,
            rtx,
            extensions,
            rtx_extensions,
            transport_cc_id,
            bitrate_bps: bitrate_bps.min(1_000_000_000),
            frame_interval_ns: frame_interval_ns.min(10_000_000_000),
            units: Arc::new(units),
            split: if even_split { Split::Even } else { Split::Full },
            start_ns,
        };
        py.detach(|| self.0.add_sender(client, parameters))
            .map_err(gone)
    }

    fn send_dtls(&self, py: Python<'_>, client: u32, datagrams: Vec<Vec<u8>>) -> PyResult<()> {
        py.detach(|| self.0.send(client, datagrams)).map_err(gone)
    }

    fn take_events<'py>(&mut self, py: Python<'py>) -> Vec<EventTuple<'py>> {
        let events = self.0.take_events().into_iter();
        let tuples = events.map(|event| match event {
            Event::IceConnected { client } => ("ice_connected", client, None),
            Event::IceFailed { client } => ("ice_failed", client, None),
            Event::Dtls { client, datagram } => ("dtls", client, Some(PyBytes::new(py, &datagram))),
        });
        tuples.collect()
    }

    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let snapshot = py.detach(|| self.0.snapshot()).map_err(gone)?;
        Ok(PyBytes::new(py, &encode(&snapshot)))
    }

    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let rows = py.detach(|| self.0.rows()).map_err(gone)?;
        Ok(PyBytes::new(py, &encode(&rows)))
    }

    fn latencies<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let (video, audio) = py.detach(|| self.0.latencies()).map_err(gone)?;
        let latencies = Latencies {
            video: video.buckets(),
            audio: audio.buckets(),
        };
        Ok(PyBytes::new(py, &encode(&latencies)))
    }
}
