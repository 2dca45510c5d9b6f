//! What Istio's validation refuses or warns of in one object alone (the rows marked V). What is wrong among objects is found
//! by `compiler`.

mod destination_rule;
mod gateway;
mod http_route;
mod names;
mod service_entry;
mod traffic_policy;
mod virtual_service;

use crate::diagnostic::Findings;
use crate::key::Kind;
use crate::spec::Spec;
use crate::spec::core::{ConfigMap, EndpointSlice, Endpoints, Namespace, Secret, Service};

/// An API server has checked them, and nothing else makes them.
macro_rules! unchecked {
    ($($kind:ident)+) => {
        $(impl Spec for $kind {
            const KIND: Kind = Kind::$kind;
            fn validate(&self, _findings: &mut Findings) {}
        })+
    };
}

unchecked! { Service Endpoints EndpointSlice Secret Namespace ConfigMap }
