//! The order of the modules of `testkit`.

use crate::layers::order::List;

pub(super) const ORDER: &[List<'static>] = &[
    ("testkit::load", &["client", "http1", "http2"]),
    ("testkit::kubelet", &["probe", "environment", "volumes", "node", "container", "pod"]),
    (
        "testkit",
        &[
            "api_server",
            "not_run",
            "client",
            "client_hello",
            "wait",
            "seeded",
            "fetch",
            "debian",
            "go",
            "ports",
            "network",
            "cluster",
            "kube_api",
            "writes",
            "kubelet",
            "service_proxy",
            "gateway",
            "proxy",
            "name_server",
            "python",
            "envoy",
            "secured",
            "load",
            "metrics_api",
            "backend",
            "faulty_backend",
            "http2",
            "numbers",
            "outcome",
            "cases",
            "oracle",
        ],
    ),
];
