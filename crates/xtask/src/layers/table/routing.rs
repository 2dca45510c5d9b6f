//! The order of the modules of `routing`.

use crate::layers::order::List;

pub(super) const ORDER: &[List<'static>] = &[
    (
        "routing",
        &[
            "names",
            "claims",
            "query",
            "ext_authz",
            "authorization",
            "judge",
            "prepare",
            "rewrite",
            "substitute",
            "log_line",
            "route",
            "authentication",
            "cors",
            "filter",
            "response_head",
            "candidates",
            "host",
            "host_map",
            "forward",
            "table",
            "decision",
            "servers",
            "tcp",
            "explain",
        ],
    ),
    ("routing::forward", &["requested", "answer", "transparent", "users"]),
    ("routing::ext_authz", &["request", "changes", "self", "grpc", "http"]),
    ("routing::authentication", &["output", "verified", "cache", "locations"]),
    ("routing::authorization", &["facts", "judge", "keys", "index"]),
];
