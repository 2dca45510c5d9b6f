//! Which object something belongs to, and where that object is.

use resources::diagnostic::{Diagnostic, Position};
use resources::key::{Key, Kind, ObjectRef};
use resources::set::ResourceSet;
use std::sync::Arc;

/// The object that an origin names.
pub(crate) fn object_ref(origin: &ir::Origin) -> ObjectRef {
    let kind = match origin.kind {
        ir::ObjectKind::Gateway => Kind::Gateway,
        ir::ObjectKind::VirtualService => Kind::VirtualService,
        ir::ObjectKind::DestinationRule => Kind::DestinationRule,
        ir::ObjectKind::ServiceEntry => Kind::ServiceEntry,
        ir::ObjectKind::WorkloadEntry => Kind::WorkloadEntry,
        ir::ObjectKind::Service => Kind::Service,
        ir::ObjectKind::AuthorizationPolicy => Kind::AuthorizationPolicy,
        ir::ObjectKind::RequestAuthentication => Kind::RequestAuthentication,
    };
    ObjectRef { kind, key: Key::new(Arc::clone(&origin.namespace), Arc::clone(&origin.name)) }
}

/// The file and line where an object's document begins.
pub(crate) fn place(set: &ResourceSet, object: &ObjectRef) -> Option<Position> {
    let source = set.source(object)?;
    Some(Position { file: Arc::clone(&source.file), line: source.line, column: 0 })
}

/// A finding with the place of its object's document.
pub(crate) fn placed(diagnostic: Diagnostic, set: &ResourceSet) -> Diagnostic {
    let position = diagnostic.object.as_ref().and_then(|object| place(set, object));
    Diagnostic { position, ..diagnostic }
}
