//! The order of the modules of `fuzz_targets`.

use crate::layers::order::List;

pub(super) const ORDER: &[List<'static>] = &[(
    "fuzz_targets",
    &[
        "random",
        "target",
        "http1",
        "bodies",
        "http2",
        "entry",
        "paths",
        "grpc_web",
        "ext_authz",
        "configuration",
        "seeded",
    ],
)];
