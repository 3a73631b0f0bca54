//! How the processes start, report and stop: telemetry, admin HTTP, shutdown.
