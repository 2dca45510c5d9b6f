//! Where fields of findings stand: the one way from an object's document to the line of a field, for `check`, the log and the pages for
//! operators. A file is read anew for it, and counts only where its document is still the one that was applied.

use resources::diagnostic::Diagnostic;
use resources::key::ObjectRef;
use resources::read::SourceText;
use resources::set::ResourceSet;
use sources::StreamTexts;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Line and column, where the field was found.
type FieldPosition = Option<(u32, u32)>;

/// Texts of files, each read once, and each document of them at most once more.
pub(crate) struct SourceTexts {
    files: HashMap<Arc<Path>, Option<SourceText>>,
    streams: StreamTexts,
}

impl SourceTexts {
    /// `streams`: texts that cannot be read again.
    pub(crate) fn new(streams: &StreamTexts) -> Self {
        Self { files: HashMap::new(), streams: Arc::clone(streams) }
    }

    pub(crate) fn get(&mut self, file: &Arc<Path>) -> Option<&mut SourceText> {
        let read = || {
            if let Some(text) = self.streams.get(file) {
                return Some(SourceText::new(Arc::clone(text)));
            }
            // Opening anything but a regular file may block.
            let is_file = std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file());
            let text = is_file.then(|| std::fs::read_to_string(file).ok()).flatten();
            text.map(|text| SourceText::new(text.into()))
        };
        self.files.entry(Arc::clone(file)).or_insert_with(read).as_mut()
    }

    /// The diagnostic with the place of its field, where that can be found; else it keeps the line of its object.
    pub(crate) fn locate(&mut self, mut diagnostic: Diagnostic, set: &ResourceSet) -> Diagnostic {
        if let Some(object) = unlocated(&diagnostic) {
            let found = self.find(object, set, &diagnostic.field);
            put(&mut diagnostic, found);
        }
        diagnostic
    }

    fn find(&mut self, object: &ObjectRef, set: &ResourceSet, field: &str) -> FieldPosition {
        let source = set.source(object)?;
        self.get(&source.file)?.locate(object, source, field)
    }
}

/// The positions of the fields of one configuration, each looked up once: a report may have ten thousand findings, and is asked for again
/// and again.
#[derive(Default)]
pub(crate) struct PositionCache(Mutex<HashMap<ObjectRef, HashMap<Box<str>, FieldPosition>>>);

impl PositionCache {
    /// Gives each diagnostic the place of its field, as [`SourceTexts::locate`] does. Files are read, which may take a while.
    pub(crate) fn locate(&self, diagnostics: &mut [Diagnostic], set: &ResourceSet, streams: &StreamTexts) {
        let mut texts = SourceTexts::new(streams);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for diagnostic in diagnostics {
            let Some(object) = unlocated(diagnostic) else { continue };
            let before = known.get(object).and_then(|fields| fields.get(&*diagnostic.field)).copied();
            let found = before.unwrap_or_else(|| {
                let found = texts.find(object, set, &diagnostic.field);
                known.entry(object.clone()).or_default().insert(diagnostic.field.as_str().into(), found);
                found
            });
            put(diagnostic, found);
        }
    }
}

/// The object of a diagnostic that has only the line of its object; those of the reading of files have their very place.
fn unlocated(diagnostic: &Diagnostic) -> Option<&ObjectRef> {
    diagnostic.position.as_ref().filter(|position| position.column == 0)?;
    diagnostic.object.as_ref()
}

fn put(diagnostic: &mut Diagnostic, found: FieldPosition) {
    if let (Some(position), Some(found)) = (&mut diagnostic.position, found) {
        (position.line, position.column) = found;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::diagnostic::{Position, Severity};
    use resources::read::{documents, read};
    use resources::set::Change;

    const TEXT: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g}
spec:
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*']
";

    #[test]
    fn a_field_is_looked_up_once_and_only_in_the_text_that_was_applied() {
        let folder = tempfile::tempdir().unwrap();
        let file: Arc<Path> = folder.path().join("a.yaml").into();
        let objects = documents(TEXT).flat_map(|document| read(&file, document).objects);
        let set = ResourceSet::default().with(objects.map(Change::Put));
        let object =
            set.gateways.keys().next().map(|key| ObjectRef { kind: resources::key::Kind::Gateway, key: key.clone() });
        let finding = Diagnostic {
            code: "MG0000",
            severity: Severity::Error,
            object,
            field: "spec.servers[0].hosts".to_owned(),
            position: Some(Position { file: Arc::clone(&file), line: 1, column: 0 }),
            message: String::new(),
            help: None,
        };
        let line = |positions: &PositionCache| {
            let mut all = [finding.clone()];
            positions.locate(&mut all, &set, &StreamTexts::default());
            all[0].position.as_ref().unwrap().line
        };
        let positions = PositionCache::default();
        std::fs::write(&file, TEXT).unwrap();
        assert_eq!(line(&positions), 7);
        assert_eq!(SourceTexts::new(&StreamTexts::default()).locate(finding.clone(), &set).position.unwrap().line, 7);
        // An edit that is not applied yet: what is known stays, and nothing new is learned from it.
        std::fs::write(&file, TEXT.replace("spec:", "# more\nspec:")).unwrap();
        assert_eq!((line(&positions), line(&PositionCache::default())), (7, 1));
        std::fs::remove_file(&file).unwrap();
        assert_eq!((line(&positions), line(&PositionCache::default())), (7, 1));
    }
}
