//! What Istio's validation refuses or warns of in one object alone (the rows marked V). What is wrong among objects is found
//! by `compiler`.

mod authorization;
mod destination_rule;
mod fields;
mod gateway;
mod head_text;
mod headers;
mod http_route;
mod l4_route;
mod lower_case;
pub(crate) mod mesh_config;
mod names;
mod patterns;
mod request_authentication;
mod security;
mod service_entry;
mod shown;
mod traffic_policy;
mod virtual_service;
mod workload_entry;

use crate::diagnostic::Findings;
use crate::key::{Key, Kind};
use crate::spec::Spec;
use crate::spec::core::{EndpointSlice, Endpoints, Node, Secret};

/// An API server has checked them, and nothing else makes them.
macro_rules! unchecked {
    ($($kind:ident)+) => {
        $(impl Spec for $kind {
            const KIND: Kind = Kind::$kind;
            fn validate(&self, _key: &Key, _findings: &mut Findings) {}
        })+
    };
}

unchecked! { Endpoints EndpointSlice Secret Node }

#[cfg(test)]
mod tests;
