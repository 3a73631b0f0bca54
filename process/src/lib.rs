//! How the processes start, report and stop: telemetry, admin HTTP, shutdown.
//!
//! * [`telemetry`]: logs as JSON or text, with a level that can be changed while the process runs.
//! * [`readiness`]: named conditions; whoever tends one says what is missing.
//! * [`admin`]: `/healthz`, `/readyz`, `/metrics`, `/debug/*` on a plain HTTP port.
//! * [`exposition`]: metrics in the text format Prometheus reads.
//! * [`process_metrics`] and [`build_info`]: what every process reports of itself.
//! * [`shutdown`]: the first signal drains, the second aborts.
//!
//! It knows neither caches nor Kubernetes, and reads no environment but through the flags it is given.

pub mod admin;
pub mod build_info;
pub mod exposition;
pub mod process_metrics;
pub mod readiness;
pub mod shutdown;
pub mod telemetry;
