//! The kinds as plain structs: what a document says, typed, before anybody asks whether it makes sense together with others.
//!
//! Field names are those of the API in Rust's case; each is read under its proto-JSON name and its original proto name. Fields that do
//! not act are here as well, so that a wrong value is found. A field that is not here makes an object invalid: what it would demand
//! is not known. Where Istio's types have a wrapper (`BoolValue`), a field is an `Option`. `compiler` reads these.

pub mod core;
pub mod destination_rule;
pub mod gateway;
pub mod mesh_config;
pub mod metadata;
pub mod pairs;
pub mod pod;
pub mod scalar;
pub mod security;
pub mod service_entry;
pub mod text_match;
pub mod virtual_service;
pub mod when_key;
pub mod workload_entry;

use crate::diagnostic::Findings;
use crate::key::{Key, Kind};
use crate::shown::Aside;
use text_match::Labels;

/// A kind of object: how it is named, and what its own validation says.
pub trait Spec: serde::de::DeserializeOwned + PartialEq {
    /// The kind.
    const KIND: Kind;

    /// Records what Istio's validation would refuse or warn of in this object alone, which goes by `key`. Field paths begin at
    /// `spec` or `metadata`.
    fn validate(&self, key: &Key, findings: &mut Findings);

    /// Brings what is written in more than one way into one form. Called after the validation.
    fn normalise(&mut self) {}

    /// What counts in place of an object with errors while there is no version of it without: a version that stops the traffic which the
    /// object is to secure. `None` for kinds without which no traffic flows.
    fn guard(self) -> Option<Self> {
        None
    }

    /// The labels in `spec.selector` of the workloads that serve the object, for kinds that ask to be served.
    fn selector(&self) -> Option<&Labels> {
        None
    }

    /// Takes what is to be shown of what the object has beside it. Called after [`Spec::normalise`].
    fn set_aside(&mut self, _: Aside) {}

    /// What of it was taken.
    fn aside(&self) -> Aside {
        Aside::default()
    }

    /// Whether fields that are shown alone, and are no part of the comparison, are the same.
    fn shows_the_same(&self, _: &Self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{core, service_entry, virtual_service, workload_entry};
    use crate::set::Object;

    /// A hundred thousand VirtualServices and ServiceEntries have to fit into less than 150 MB, with all that is around them.
    #[test]
    fn what_there_is_much_of_is_small() {
        assert_eq!(size_of::<virtual_service::VirtualService>(), 96);
        assert_eq!(size_of::<virtual_service::HttpRoute>(), 160);
        assert_eq!(size_of::<virtual_service::HttpMatch>(), 240);
        assert_eq!(size_of::<virtual_service::RouteDestination>(), 56);
        assert_eq!(size_of::<service_entry::ServiceEntry>(), 112);
        assert_eq!(size_of::<service_entry::ServicePort>(), 40);
        assert_eq!(size_of::<workload_entry::WorkloadEntry>(), 104);
        assert_eq!(size_of::<core::Service>(), 96);
        assert_eq!(size_of::<core::CoreServicePort>(), 80);
        assert_eq!(size_of::<core::SliceEndpoint>(), 64);
        // With the counts of an `Arc`, 184, 184 and 200 octets: the allocator has sizes of 192 and 224.
        assert_eq!(size_of::<Object<core::Service>>(), 168);
        assert_eq!(size_of::<Object<virtual_service::VirtualService>>(), 168);
        assert_eq!(size_of::<Object<service_entry::ServiceEntry>>(), 184);
    }
}
