//! What a source reports. Files and an API server's watch report the same events, so that everything behind them is the same.
//!
//! Absence has to be proven: an object goes only by [`SourceEvent::Delete`], or because a listing that began with
//! [`SourceEvent::Restart`] reached [`SourceEvent::Complete`] without it. A part that cannot be read keeps what it held.
//!
//! A watch of an API server reports, for each kind:
//!
//! | the watch | events |
//! |---|---|
//! | list, first or again after an expired `resourceVersion` | `Restart(Kind)`, `Upsert` or `Reject` for each object, `Complete(Kind)` |
//! | ADDED, MODIFIED | `Upsert`, or `Reject` where the object has errors |
//! | DELETED | `Delete` |
//! | connection lost, forbidden | `Unavailable(Kind)`, `Available(Kind)` once the watch goes on |
//! | kind not installed | `Complete(Kind)`, and a list once it is |
//! | all kinds listed for the first time | `Complete(All)` |

use crate::mesh::MeshText;
use crate::stream::StreamTexts;
use foldhash::fast::FixedState;
use resources::diagnostic::{Diagnostic, SourceLocation};
use resources::file_contents::FileContents;
use resources::key::{Kind, ObjectRef};
use resources::set::{Absence, AnyObject};
use resources::spec::text_match::Labels;
use std::hash::BuildHasher as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// One observation of a source.
#[derive(Debug, Clone)]
pub enum SourceEvent {
    /// The object is new, or has another version, without errors.
    Upsert(Upsert),
    /// The object has a version with errors. Its last version without errors is kept.
    Reject(Box<Rejection>),
    /// The object is deleted.
    Delete(ObjectRef),
    /// A listing of the scope begins. Objects of the scope that are not reported again are gone at its end, and no earlier.
    Restart(Scope),
    /// Everything in the scope has been reported. [`Scope::All`] means that the configuration is complete, and can be served.
    Complete(Scope),
    /// The scope cannot be read, for these reasons. What it held is kept.
    Unavailable(Scope, Arc<[Diagnostic]>),
    /// The scope can be read again. [`Self::Complete`] says so, too.
    Available(Scope),
    /// Findings that belong to no single object, in place of those reported before.
    Findings(Arc<[Diagnostic]>),
    /// Why an object that is referred to does not exist; `None`: no reason is known any more.
    Absent(ObjectRef, Option<Absence>),
    /// The files that objects name, in place of those reported before.
    Files(FileContents),
    /// The mesh settings of a file, or that there is no file of them.
    Mesh(Option<MeshText>),
    /// Texts of input that can be read only once.
    Streams(StreamTexts),
    /// Everything before this event was read anew on request.
    Reloaded,
}

/// A version of an object without errors.
#[derive(Debug, Clone)]
pub struct Upsert {
    /// The object.
    pub object: AnyObject,
    /// Its version; `None` where the source has none, as files.
    pub version: Option<ObjectVersion>,
    /// Findings about this version: warnings and notes.
    pub findings: Arc<[Diagnostic]>,
}

/// A version of an object with errors.
#[derive(Debug, Clone)]
pub struct Rejection {
    /// Its kind and key.
    pub object: ObjectRef,
    /// Its version; `None` where the source has none.
    pub version: Option<ObjectVersion>,
    /// The code of its first error.
    pub code: &'static str,
    /// What is used while there is no version without errors, where traffic would go unsecured otherwise.
    pub guard: Option<AnyObject>,
    /// Of a Gateway, which workloads it is for, where that could be read.
    pub selector: Option<Labels>,
    /// Findings about this version.
    pub findings: Arc<[Diagnostic]>,
}

/// The version of an object in an API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectVersion {
    /// A fingerprint of `metadata.resourceVersion`, which is opaque, and another one with each write.
    pub resource_version: u64,
    /// `metadata.generation`: another one with each change of the specification; `None` for kinds without a status, and where no statuses are
    /// written.
    pub generation: Option<i64>,
}

impl ObjectVersion {
    /// A version as the API server names it.
    pub fn new(resource_version: &str, generation: Option<i64>) -> Self {
        Self { resource_version: FixedState::default().hash_one(resource_version), generation }
    }
}

/// A part of a source that can be listed, or fail, by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Everything.
    All,
    /// All objects of a kind.
    Kind(Kind),
    /// A file, or a folder with everything in it.
    Path(Arc<Path>),
}

impl Scope {
    /// Whether an object with this location belongs to the scope.
    pub(crate) fn covers(&self, object: &ObjectRef, location: Option<&SourceLocation>) -> bool {
        match self {
            Self::All => true,
            Self::Kind(kind) => *kind == object.kind,
            Self::Path(path) => location.is_some_and(|location| location.file.starts_with(path)),
        }
    }
}

/// Events that belong together: a reader sees all of them, or none.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// In the order in which they were observed.
    pub events: Vec<SourceEvent>,
    /// How long reading took.
    pub timing: Timing,
}

/// How long a reading took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// Reading files and parsing documents.
    pub parse: Duration,
    /// Comparing with what is known, and making the set.
    pub collect: Duration,
}

impl From<Vec<SourceEvent>> for Batch {
    fn from(events: Vec<SourceEvent>) -> Self {
        Self { events, timing: Timing::default() }
    }
}
