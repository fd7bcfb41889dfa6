//! The Python face: the engine for tests, load and replay, and the plane as a process.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::engine::{Config, Engine};
use crate::plane::{Ended, PlaneConfig, PlaneError};
use crate::wire::answers::OrderResult;
use crate::wire::frame::{ResultFrame, decode_orders, encode};

/// The engine of one worker, sans-IO; see `media/_native.pyi`.
#[pyclass(name = "Engine", module = "media._native")]
struct PyEngine {
    engine: Engine,
    /// Datagrams of a transmit that are not handed out yet, the last one first.
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
}

#[pymethods]
impl PyEngine {
    #[new]
    #[pyo3(signature = (*, worker = 0, seed = 0, unix_offset_ns = 0))]
    fn new(worker: u32, seed: u64, unix_offset_ns: u64) -> Self {
        let config = Config {
            unix_offset_ns,
            ..Config::new(worker, seed)
        };
        Self {
            engine: Engine::new(config),
            datagrams: Vec::new(),
        }
    }

    fn handle_datagram(&mut self, at_ns: u64, remote: &str, data: &[u8]) -> PyResult<()> {
        let remote: SocketAddr = remote
            .parse()
            .map_err(|_| PyValueError::new_err(format!("no address: {remote}")))?;
        self.engine
            .handle_datagram(at_ns, remote, &mut data.to_vec());
        Ok(())
    }

    fn handle_orders<'py>(
        &mut self,
        py: Python<'py>,
        at_ns: u64,
        frame_body: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let frame =
            decode_orders(frame_body).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let orders = frame.orders.into_iter();
        let results: Vec<OrderResult> = orders
            .map(|order| self.engine.handle_order(at_ns, order).into())
            .collect();
        Ok(PyBytes::new(
            py,
            &encode(&ResultFrame {
                seq: frame.seq,
                results,
            }),
        ))
    }

    fn handle_timeout(&mut self, at_ns: u64) {
        self.engine.handle_timeout(at_ns);
    }

    fn poll_transmit<'py>(&mut self, py: Python<'py>) -> Option<(String, Bound<'py, PyBytes>)> {
        if self.datagrams.is_empty() {
            let transmit = self.engine.poll_transmit(1)?;
            let remote = transmit.remote;
            self.datagrams
                .extend(transmit.datagrams().map(|one| (remote, one.to_vec())));
            self.datagrams.reverse();
        }
        let (remote, datagram) = self.datagrams.pop()?;
        Some((remote.to_string(), PyBytes::new(py, &datagram)))
    }

    fn poll_notices<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let notices: Vec<_> = std::iter::from_fn(|| self.engine.poll_notice()).collect();
        PyBytes::new(py, &encode(&notices))
    }

    fn next_deadline_ns(&self) -> Option<u64> {
        self.engine.next_deadline_ns()
    }

    fn drops(&self) -> std::collections::BTreeMap<&'static str, u64> {
        self.engine.drops().by_word().collect()
    }
}

/// Runs a plane until it ends; says why it ended well. Blocks, without the GIL.
#[pyfunction]
#[pyo3(signature = (*, socket_path, host, ports, workers, version, grace_ms, telemetry = true, recorder_bytes = 67_108_864, recorder_seconds = 30, keyframe_interval_ms = 4_000))]
#[allow(clippy::too_many_arguments)]
fn run_plane(
    py: Python<'_>,
    socket_path: PathBuf,
    host: &str,
    ports: (u16, u16),
    workers: u32,
    version: String,
    grace_ms: u64,
    telemetry: bool,
    recorder_bytes: usize,
    recorder_seconds: u32,
    keyframe_interval_ms: u32,
) -> PyResult<&'static str> {
    let host: IpAddr = host
        .parse()
        .map_err(|_| PyValueError::new_err(format!("not an IP address: {host}")))?;
    let config = PlaneConfig {
        socket_path,
        host,
        ports,
        workers,
        version,
        grace_ms,
        telemetry,
        recorder_bytes,
        recorder_seconds,
        keyframe_interval_ms,
    };
    match py.detach(|| crate::plane::run_plane(&config)) {
        Ok(Ended::Quit) => Ok("quit"),
        Ok(Ended::Signal) => Ok("signal"),
        Ok(Ended::Grace) => Ok("grace"),
        Err(PlaneError::Config(why)) => Err(PyValueError::new_err(why)),
        Err(error) => Err(PyOSError::new_err(error.to_string())),
    }
}

/// The native core of Reprise.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{PyEngine, run_plane};
    #[pymodule_export]
    use crate::python_load::PyLoadPlane;
    #[pymodule_export]
    use crate::python_packets::{
        SrtpError, SrtpSession, StunMessage, parse_stun, stun_binding_request, stun_binding_success,
    };
    #[pymodule_export]
    use crate::python_telemetry::{TelemetryFold, telemetry_metrics};
}
