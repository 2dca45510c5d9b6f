//! The objects of a set as they are written: with fields that the gateway does not read. A file is read anew for it, and counts only where
//! its document is still the one that was applied; otherwise, and for objects of an API server, it is what the gateway keeps of them.
//! `get` and the admin pages call this.

mod plain;

use crate::positions::SourceTexts;
use resources::api::ApiResource;
use resources::diagnostic::SourceLocation;
use resources::key::{Kind, ObjectRef};
use resources::set::{AnyObject, Meta, ResourceSet};
use resources::shown::Aside;
use serde_json::{Map, Value};
use sources::StreamTexts;
use std::collections::{BTreeMap, BTreeSet};

/// The objects of these kinds, sorted by kind, namespace and name.
pub(crate) fn objects(set: &ResourceSet, streams: &StreamTexts, kinds: &BTreeSet<Kind>) -> Vec<(ObjectRef, Value)> {
    let mut all: BTreeMap<ObjectRef, Option<Value>> =
        set.objects().filter(|object| kinds.contains(&object.kind)).map(|object| (object, None)).collect();
    // Each document is read once, however many objects it has.
    let mut documents: BTreeMap<(&std::path::Path, u32), &SourceLocation> = BTreeMap::new();
    for source in all.keys().filter_map(|object| set.source(object)) {
        documents.insert((&*source.file, source.line), source);
    }
    let mut texts = SourceTexts::new(streams);
    for source in documents.into_values() {
        let written = texts.get(&source.file).and_then(|text| text.written(source));
        for (object, value) in written.into_iter().flatten() {
            // An object that is defined twice is elsewhere.
            if set.source(&object) == Some(source)
                && let Some(place) = all.get_mut(&object)
            {
                place.get_or_insert(value);
            }
        }
    }
    let found = all.into_iter().filter_map(|(object, written)| {
        let value = written.or_else(|| set.get(&object).map(|object| kept(&object)))?;
        Some((object, value))
    });
    found.collect()
}

/// An object as far as the gateway keeps it.
fn kept(object: &AnyObject) -> Value {
    let name = object.object_ref();
    let mut fields = Map::new();
    let resource = ApiResource::of(name.kind);
    if let Some((resource, version)) = resource.and_then(|resource| Some((resource, resource.versions.first()?))) {
        fields.insert("apiVersion".to_owned(), resource.api_version(version).into());
    }
    fields.insert("kind".to_owned(), name.kind.as_str().into());
    let aside = object.aside();
    fields.insert("metadata".to_owned(), metadata(&name, object.meta(), &aside));
    // What was read can be written.
    let spec = object.write_spec(plain::Writer).map_or(Value::Null, |plain| plain.value);
    match spec {
        Value::Object(spec) if resources::read::spec_is_root(name.kind) => fields.extend(spec),
        spec => drop(fields.insert("spec".to_owned(), spec)),
    }
    fields.extend(aside.status.map(|status| ("status".to_owned(), status)));
    Value::Object(fields)
}

fn metadata(name: &ObjectRef, meta: &Meta, aside: &Aside) -> Value {
    let mut fields = Map::new();
    fields.insert("name".to_owned(), Value::from(&*name.key.name));
    if !name.key.namespace.is_empty() {
        fields.insert("namespace".to_owned(), Value::from(&*name.key.namespace));
    }
    for (field, pairs) in [("labels", &meta.labels), ("annotations", &meta.annotations)] {
        let pairs: Map<String, Value> =
            pairs.iter().map(|(key, value)| (key.to_string(), Value::from(&**value))).collect();
        if !pairs.is_empty() {
            fields.insert(field.to_owned(), Value::Object(pairs));
        }
    }
    fields.extend(meta.created.map(|time| ("creationTimestamp".to_owned(), time.to_string().into())));
    fields.extend(aside.ends.map(|time| ("deletionTimestamp".to_owned(), time.to_string().into())));
    Value::Object(fields)
}

/// Takes the values of a Secret away, and leaves their names.
pub(crate) fn redact(object: &ObjectRef, value: &mut Value) {
    const REDACTED: &str = "";
    if object.kind != Kind::Secret {
        return;
    }
    for field in ["data", "stringData"] {
        if let Some(Value::Object(values)) = value.get_mut(field) {
            values.values_mut().for_each(|value| *value = REDACTED.into());
        }
    }
    if let Some(Value::Object(annotations)) = value.pointer_mut("/metadata/annotations") {
        // It has the values once more.
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::read::{documents, read, read_value};
    use resources::set::Change;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    /// The input of every case.
    fn inputs() -> Vec<PathBuf> {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases");
        let folders = |folder: &Path| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.filter(|path| path.is_dir()).collect()
        };
        let of_topic = |topic: PathBuf| folders(&topic).into_iter().map(|case| case.join("in.yaml"));
        folders(&cases).into_iter().flat_map(of_topic).filter(|file| file.exists()).collect()
    }

    #[test]
    fn what_is_kept_of_an_object_reads_as_the_same_object() {
        let mut failures = Vec::new();
        let mut count = 0;
        for file in inputs() {
            let text = std::fs::read_to_string(&file).unwrap();
            let path: Arc<Path> = file.as_path().into();
            for object in documents(&text).flat_map(|document| read(&path, document).objects) {
                // Its values are not shown.
                if object.object_ref().kind == Kind::Secret {
                    continue;
                }
                count += 1;
                let value = kept(&object);
                let reading = read_value(value.clone());
                let set = ResourceSet::default().with([Change::Put(object)]);
                let is_same = reading.objects.into_iter().next().is_some_and(|again| {
                    let (again, shows_another) = set.with_and_shown([Change::Put(again)]);
                    again.changed.is_empty() && !shows_another
                });
                if !is_same {
                    failures.push(format!("{}: {value}\n{:?}", file.display(), reading.diagnostics));
                }
            }
        }
        assert!(count > 500, "{count}");
        assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
    }
}
