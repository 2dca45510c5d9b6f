//! The real program over real sockets: cases, Istio's recorded answers, `explain` beside both, and the program's own ways.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod program {
    mod access_log;
    mod balance;
    mod cases;
    mod churn;
    mod clients;
    mod cluster;
    mod conformance;
    mod crds;
    mod credentials;
    mod decision_log;
    mod descriptors;
    mod egress;
    mod envoy;
    mod examples;
    mod file_operations;
    mod first_use;
    mod get;
    mod get_in_cluster;
    mod hostile;
    mod input;
    mod kubernetes;
    mod kustomize;
    mod lifecycle;
    mod metrics;
    mod mutations;
    mod operation;
    mod oracle;
    mod outputs;
    mod pages;
    mod replicas;
    mod security;
    mod serving;
    mod statuses;
    mod suggest;
    mod takeover;
    mod tonic;
    mod transparent;
    mod tunnels;
    mod twin;
    mod twin_seeded;
}
