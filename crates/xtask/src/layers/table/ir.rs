//! The order of the modules of `ir`.

use crate::layers::order::List;

pub(super) const ORDER: &[List<'static>] = &[
    (
        "ir",
        &[
            "balance",
            "map",
            "fault",
            "health",
            "host",
            "limits",
            "mesh_settings",
            "origin",
            "pattern",
            "matching",
            "cors",
            "filter",
            "retries",
            "header",
            "credential",
            "tls",
            "cluster",
            "action",
            "tunnel",
            "policy",
            "forward",
            "listener",
            "snapshot",
            "x509",
        ],
    ),
    ("ir::x509", &["der", "name", "time", "ocsp", "revocation"]),
    ("ir::policy", &["authentication", "authorization", "external"]),
    ("ir::policy::authorization", &["path_template", "text_match"]),
    ("ir::pattern", &["bounds", "table", "replace"]),
];
