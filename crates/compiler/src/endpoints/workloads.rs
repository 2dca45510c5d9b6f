//! WorkloadEntries by their labels.

use crate::context::CompileContext;
use resources::set::Object;
use resources::spec::text_match::{Labels, selects};
use resources::spec::workload_entry::WorkloadEntry;
use std::borrow::Cow;
use std::sync::Arc;

/// WorkloadEntries of a namespace that have all labels of a selector.
pub(super) fn workload_entries<'a>(
    context: CompileContext<'a>,
    namespace: &'a str,
    selector: &'a Labels,
) -> impl Iterator<Item = &'a Arc<Object<WorkloadEntry>>> {
    let from = resources::key::Key::new(namespace, "");
    context
        .set
        .workload_entries
        .range(from..)
        .take_while(move |(key, _)| &*key.namespace == namespace)
        .map(|(_, object)| object)
        .filter(move |object| selects(selector, &labels_of(object)))
}

/// Whether a selector selects any WorkloadEntry of a namespace.
pub(crate) fn any_selected(context: CompileContext<'_>, namespace: &str, selector: &Labels) -> bool {
    workload_entries(context, namespace, selector).next().is_some()
}

/// The labels of a WorkloadEntry: those of its spec, and those of its metadata where the spec has none of the name.
pub(crate) fn labels_of(object: &Object<WorkloadEntry>) -> Cow<'_, Labels> {
    if object.meta.labels.is_empty() {
        return Cow::Borrowed(&object.spec.labels);
    }
    let mut labels = object.meta.labels.clone();
    labels.extend(object.spec.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    Cow::Owned(labels)
}
