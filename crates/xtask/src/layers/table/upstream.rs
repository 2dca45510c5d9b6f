//! The order of the modules of `upstream`.

use crate::layers::order::List;

pub(super) const ORDER: &[List<'static>] = &[
    (
        "upstream",
        &[
            "endpoint",
            "balance",
            "coalesce",
            "watch",
            "certificate",
            "identity",
            "parameters",
            "tls",
            "connect",
            "cluster",
            "ejection",
            "tasks",
            "dns",
            "reachable",
            "destinations",
            "fetch",
            "store",
            "pool",
            "h1",
            "h2",
        ],
    ),
    ("upstream::balance", &["line", "member", "xxhash", "table", "hashing", "level"]),
    ("upstream::cluster", &["endpoints", "resolution", "outlier", "usage"]),
    ("upstream::connect", &["replay", "stream", "pool_key", "limiter"]),
    ("upstream::dns", &["failures", "resolver", "turns"]),
    ("upstream::endpoint", &["endpoints", "health", "lifetime", "shared_idle"]),
    ("upstream::h2", &["outgoing", "connection", "driver"]),
    ("upstream::watch", &["marks", "frames"]),
];
