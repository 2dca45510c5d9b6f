//! `moongate demo`: a gateway with something to send requests to, from a folder to play with.

mod authority;
mod decisions;
mod destinations;
mod egress;
mod files;
mod ingress;
mod names;
mod sockets;

use crate::cli::DemoArgs;
use crate::logging;
use anyhow::Result;

/// Serves the example until the process is asked to end.
pub(crate) fn demo(args: &DemoArgs) -> Result<()> {
    logging::start(if args.serve.log == "info" { "warn" } else { &args.serve.log }, args.serve.log_format)?;
    if args.egress { egress::demo(args) } else { ingress::demo(args) }
}
