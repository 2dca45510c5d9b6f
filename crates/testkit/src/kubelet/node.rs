//! What all Pods of the node share.

use crate::kube_api::Api;
use crate::network::Network;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The name of the node.
pub const NODE: &str = "node";

/// Programs by a part of the names of images, each with the arguments that a container without any has.
pub type Images = BTreeMap<String, (PathBuf, Vec<String>)>;

pub(super) struct Node {
    pub(super) api: Api,
    pub(super) images: Images,
    pub(super) network: Network,
    /// Where each Pod has a folder.
    pub(super) folder: PathBuf,
}

/// Whether a Pod is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    No,
    /// SIGTERM, and SIGKILL after so many seconds.
    Within(u64),
    /// It is not there any more.
    AtOnce,
}
