//! Where resources come from: files and folders on this machine, watched, and streams, read once.
//!
//! The program takes [`Loaded`] after [`Loaded`] from here; the first comes at once, each further one after something changed. The last
//! good version of an object lives here: while its document is broken, the set keeps what it said before.

mod document;
mod files;
mod findings;
mod folder;
mod inotify;
mod inventory;
mod listing;
mod load_error;
mod mesh;
mod named;
mod route;
mod settle;
mod stream;
mod watch;

pub use files::{FileSource, Loaded, Timing};
pub use load_error::LoadError;
pub use mesh::MeshText;
pub use stream::StreamTexts;
pub use watch::{Reload, watch};
