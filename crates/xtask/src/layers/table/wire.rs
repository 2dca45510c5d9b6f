//! The order of the modules of `wire`.

use crate::layers::order::List;

pub(super) const ORDER: &[List<'static>] = &[
    (
        "wire",
        &[
            "address",
            "destination",
            "edit",
            "ext_authz",
            "hello",
            "host",
            "path",
            "proxy_protocol",
            "view",
            "forwarded",
            "h1",
            "grpc_web",
            "grpc",
            "h2",
        ],
    ),
    ("wire::h1", &["error", "message", "fields", "request", "response", "write", "size", "body"]),
    ("wire::h2", &["blocks", "read", "write"]),
];
