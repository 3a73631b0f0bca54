//! Measures the operator with many clusters and with one large one: real nodes in this process, on a real API server.

mod addresses;
mod arguments;
mod audit;
mod clusters;
mod figures;
mod kubelet;
mod light;
mod machines;
mod operator;
mod pod;
mod pod_status;
mod round;
mod sight;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Output};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let figures = round::run(&arguments).await?;
    match arguments.output {
        Output::Text => print!("{}", figures.table()),
        Output::Json => println!("{}", serde_json::to_string(&figures)?),
    }
    figures.verdict()?;
    Ok(ExitCode::SUCCESS)
}
