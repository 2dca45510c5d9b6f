//! Plans that know no dialect: servers with their owners, how they merge on an address, and how routes bind to them. The front ends make
//! the parts, `incremental` joins them.

pub(crate) mod bindings;
mod coverage;
pub(crate) mod merge;
pub(crate) mod owner;
pub(crate) mod servers;
