//! The facts of one exchange, for values of headers (VS-47).

use crate::codec::Downstream;
use crate::conn::Client;
use crate::stream_info::{OutcomeFacts, StreamFacts};
use ir::{AddressOf, FieldName, Operator};
use routing::{Facts, RouteEntry, substitute};
use std::borrow::Cow;
use std::net::IpAddr;
use std::time::SystemTime;
use wire::forwarded::{self, Peer};
use wire::h1::Version;
use wire::view::{Fields, RequestView};

/// Facts for the edits of a request.
pub(in crate::http) struct RequestFacts<'a> {
    pub(in crate::http) stream: StreamFacts<'a>,
    pub(in crate::http) view: &'a RequestView<'a>,
}

/// Facts for the edits of a response.
pub(in crate::http) struct ResponseFacts<'a> {
    pub(in crate::http) stream: StreamFacts<'a>,
    pub(in crate::http) outcome: OutcomeFacts<'a>,
    /// The captured headers of the request.
    pub(in crate::http) captured_headers: &'a [(FieldName, Vec<u8>)],
    pub(in crate::http) status: u16,
    pub(in crate::http) fields: Fields<'a>,
}

impl Facts for RequestFacts<'_> {
    fn request(&self, name: &FieldName) -> Option<Cow<'_, [u8]>> {
        substitute::of_request(self.view, name)
    }

    fn response(&self) -> Option<(u16, Fields<'_>)> {
        None
    }

    fn put(&self, operator: &Operator, out: &mut Vec<u8>) {
        match operator {
            Operator::StartTime(format) => format.write(SystemTime::now(), out),
            other => self.stream.put(other, out),
        }
    }
}

impl Facts for ResponseFacts<'_> {
    fn request(&self, name: &FieldName) -> Option<Cow<'_, [u8]>> {
        self.captured_headers
            .iter()
            .find(|(captured, _)| captured == name)
            .map(|(_, value)| Cow::Borrowed(value.as_slice()))
    }

    fn response(&self) -> Option<(u16, Fields<'_>)> {
        Some((self.status, self.fields))
    }

    fn put(&self, operator: &Operator, out: &mut Vec<u8>) {
        if let Operator::Address(AddressOf::Client, _) = operator {
            let external = self.captured_headers.iter().find_map(|(name, value)| match name {
                FieldName::Header(name) if name.as_str() == substitute::EXTERNAL_ADDRESS => Some(value),
                _ => None,
            });
            let client = external.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            return StreamFacts { client, ..self.stream }.put(operator, out);
        }
        if !self.outcome.put(operator, out) {
            self.stream.put(operator, out);
        }
    }
}

/// The facts of a request on a connection; without a route they have neither its name nor a cluster.
pub(in crate::http) fn stream_facts<'a>(
    client: &'a Client,
    protocol: &'static str,
    route: Option<&'a RouteEntry>,
    cluster: &'a str,
) -> StreamFacts<'a> {
    let route_name = route.map_or("", |route| &route.config.name);
    StreamFacts { protocol, route_name, cluster, ..client.facts() }
}

/// The client's address behind trusted proxies, if it is not that of the connection.
pub(in crate::http) fn address_behind<'a>(peer: &Peer<'a>, fields: Fields<'a>) -> Option<IpAddr> {
    forwarded::client_behind(peer, fields)?.parse().ok()
}

/// The protocol as clients name it.
pub(super) fn protocol(downstream: &Downstream, version: Version) -> &'static str {
    downstream.protocol(version)
}
