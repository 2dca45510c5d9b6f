//! Where resources come from: files and folders on this machine, watched, streams, read once, and the API server of a cluster.
//!
//! A [`Source`] reports [`SourceEvent`]s. [`watch`] makes sets of them, and the program takes [`Loaded`] after [`Loaded`] from it; the first
//! comes at once, each further one after something changed. The last good version of an object lives here: while its document is broken,
//! the set keeps what it said before.

mod collector;
mod document;
mod event;
mod file_source;
mod files;
mod findings;
mod folder;
mod inotify;
mod inventory;
mod kubernetes;
mod listing;
mod load_error;
mod mesh;
mod named;
mod reader;
mod reload;
mod route;
mod settle;
mod source;
mod stream;
mod watch;
mod watched_files;

pub use collector::{Collector, Loaded};
pub use event::{Batch, ObjectVersion, Rejection, Scope, SourceEvent, Timing, Upsert};
pub use file_source::FileSource;
pub use kubernetes::{
    Access, AccessError, Claim, Extent, KubernetesSettings, KubernetesSource, Pace, Published, Rule, Status,
    StatusMessage, Statuses, WATCHED, Watched, WriteSettings, Writer, Written, rules,
};
pub use load_error::LoadError;
pub use mesh::MeshText;
pub use reader::FileReader;
pub use reload::Reload;
pub use source::Source;
pub use stream::StreamTexts;
pub use watch::{Watch, watch};
