//! Files of this machine beside a cluster: the mesh settings that a flag names, and certificates that objects name by path. Absence, changes
//! and findings are those of `files`; relative paths of objects begin at the folder that their files have to be in.

use super::findings::Problems;
use super::object::has_file_fields;
use crate::event::SourceEvent;
use crate::files::Files;
use crate::inventory::Changes;
use crate::watched_files::{ReadingFailed, WatchedFiles};
use resources::file_contents::FileContents;
use resources::key::ObjectRef;
use resources::set::{AnyObject, Change, ResourceSet};
use std::path::PathBuf;
use std::sync::Arc;

/// The files, and what is new about them.
pub(super) struct LocalFiles {
    files: WatchedFiles,
    /// The namespace whose objects may name files: that of the gateway.
    namespace: Arc<str>,
    /// Whether any object may.
    may_be_named: bool,
    /// Objects that may name files, as they changed since the last reading.
    naming: Changes,
    /// Whether the mesh settings that are named have not been read yet.
    awaits_mesh: bool,
    begun: bool,
    /// Whether they are to be looked at.
    is_due: bool,
    /// Whether they are to be read again whatever is known of them.
    is_requested: bool,
}

impl LocalFiles {
    /// `mesh`: the file of the mesh settings, if there is one. Objects of `namespace`, that of the gateway, may name files in the folder
    /// `certificates`: whoever may write objects elsewhere is not trusted with the files of this machine.
    pub(super) fn new(mesh: Option<PathBuf>, certificates: Option<PathBuf>, namespace: Arc<str>) -> Self {
        let mut files = Files::default();
        let (awaits_mesh, may_be_named) = (mesh.is_some(), certificates.is_some());
        files.set_mesh(mesh);
        files.confine_named(certificates);
        let (naming, begun, is_due, is_requested) = Default::default();
        let files = WatchedFiles::new(files);
        Self { files, namespace, may_be_named, naming, awaits_mesh, begun, is_due, is_requested }
    }

    /// Whether the mesh settings that are named have not been read yet.
    pub(super) fn awaits_mesh(&self) -> bool {
        self.awaits_mesh
    }

    fn may_name(&self, object: &ObjectRef) -> bool {
        self.may_be_named && has_file_fields(object.kind) && self.namespace == object.key.namespace
    }

    /// Waits for a change of the files. Can be cancelled without loss.
    pub(super) async fn changed(&mut self) {
        self.files.changed().await;
        self.is_due = true;
    }

    /// Has every file read again.
    pub(super) fn request(&mut self) {
        self.is_requested = true;
    }

    /// The object is kept as it is now.
    pub(super) fn put(&mut self, object: &AnyObject) {
        if self.may_name(&object.object_ref()) {
            self.naming.insert(object.object_ref(), Change::Put(object.clone()));
        }
    }

    /// The object is gone.
    pub(super) fn forget(&mut self, object: &ObjectRef) {
        if self.may_name(object) {
            self.naming.insert(object.clone(), Change::Delete(object.clone()));
        }
    }

    /// Reads what is new: nothing, unless files changed, objects that may name others did, or it was asked for. Has to be polled to its end.
    pub(super) async fn read(&mut self, set: &Arc<ResourceSet>, problems: &mut Problems) -> Vec<SourceEvent> {
        if self.files.pauses() {
            return Vec::new();
        }
        let is_first = !std::mem::replace(&mut self.begun, true);
        let is_due = std::mem::take(&mut self.is_due) || !self.naming.is_empty();
        let is_requested = std::mem::take(&mut self.is_requested);
        if !(is_first || is_due || is_requested) {
            return Vec::new();
        }
        let mut events = Vec::new();
        if is_first {
            self.files.start_watching();
            // Known before any object is, so that an object of another namespace gets the reason why its file does not count even where none is read.
            events.push(SourceEvent::Files(self.confined(FileContents::default())));
        }
        self.files.name(&std::mem::take(&mut self.naming));
        let read = self.files.read(set, is_requested && !is_first).await;
        problems.set_unfinished(read.as_ref().err().map(|ReadingFailed(error)| &**error));
        let Ok(batch) = read else {
            self.is_requested = is_requested;
            return events;
        };
        events.extend(batch.unwrap_or_default().events.into_iter().filter_map(|event| self.event(event, problems)));
        events
    }

    /// What an event of the files is for the source, if anything.
    fn event(&mut self, event: SourceEvent, problems: &mut Problems) -> Option<SourceEvent> {
        match event {
            SourceEvent::Findings(found) => {
                problems.set_files(found);
                None
            }
            SourceEvent::Mesh(mesh) => {
                self.awaits_mesh &= mesh.is_none();
                (!self.awaits_mesh).then_some(SourceEvent::Mesh(mesh))
            }
            SourceEvent::Files(files) => Some(SourceEvent::Files(self.confined(files))),
            SourceEvent::Unavailable(..) | SourceEvent::Available(_) => Some(event),
            // All else is the cluster's to say: which objects there are, and when the configuration is complete.
            _ => None,
        }
    }

    /// Whoever may write objects elsewhere is not trusted with the files of this machine, those that are read included.
    fn confined(&self, files: FileContents) -> FileContents {
        files.only_of(Arc::clone(&self.namespace))
    }

    /// Has the next reading fail in the middle.
    #[cfg(test)]
    pub(super) fn fail(&mut self) {
        self.files.fail();
    }
}
