//! An API server as a source: what it lists and watches becomes the same events as files are, without waiting for quiet. Only what something
//! refers to is kept. While the server cannot be asked, what it said before keeps serving.

mod access;
mod claim;
mod fetch;
mod findings;
mod follow;
mod followers;
mod keeper;
mod lease;
mod local_files;
mod object;
mod page;
mod published;
mod queue;
mod references;
mod retries;
mod slices;
mod source;
mod state;
mod status;
mod statuses;
mod unused;
mod watched;
mod writer;

pub use access::{Access, AccessError};
pub use claim::Claim;
pub use follow::Pace;
pub use published::Published;
pub use source::{KubernetesSettings, KubernetesSource};
pub use status::{Status, StatusMessage};
pub use statuses::Statuses;
pub use watched::{Extent, Rule, WATCHED, Watched, Written, rules};
pub use writer::{WriteSettings, Writer};
