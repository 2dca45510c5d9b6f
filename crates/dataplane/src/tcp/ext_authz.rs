//! External authorization of connections whose bytes are passed on (AP-13): a service is asked before anything is sent to a backend, and before
//! anything of a backend is sent to the client.

use super::authorization::{access_facts, policies};
use super::connection::TcpConnection;
use crate::codec::{ClientReset, until_reset};
use crate::conn::{ExternalGate, Worker, boxed};
use crate::ext_authz::{ask, connection};
use crate::reasons::Flags;
use crate::stream_info::{CheckResult, StreamInfo};
use ir::policy::{ExternalAuthorization, ExternalCheck};
use routing::ext_authz::{CheckVerdict, DENY_ALL, grpc};

/// Whether the service of the workload lets the connection pass. What it would change of a request has no use here.
pub(super) async fn allows(worker: &Worker, conn: &TcpConnection, info: &mut StreamInfo) -> bool {
    let Some(gate) = policies(conn).and_then(|policies| policies.ext_authz.as_deref()) else { return true };
    match &*gate.authorization {
        ExternalAuthorization::DenyAll => {
            (info.denied, info.is_denied) = (Some(DENY_ALL.into()), true);
            false
        }
        ExternalAuthorization::Check(_) if !gate.concerns(&access_facts(&conn.client)) => true,
        // Boxed, so that the future of a connection that is not checked stays small.
        ExternalAuthorization::Check(check) => boxed(|| is_allowed(worker, conn, gate, check, info)).await,
    }
}

async fn is_allowed(
    worker: &Worker,
    conn: &TcpConnection,
    gate: &ExternalGate,
    check: &ExternalCheck,
    info: &mut StreamInfo,
) -> bool {
    let message = grpc::connection_check(&connection(&conn.client)).into();
    let asked = match until_reset(&conn.stream, ask(worker, gate, check, &message)).await {
        Ok(asked) => asked,
        Err(ClientReset) => {
            info.flags |= Flags::DC;
            return false;
        }
    };
    let verdict = asked.unwrap_or_else(|error| {
        info.transport_failure = error.to_string();
        CheckVerdict::Error(None)
    });
    let (result, detail, passes) = match verdict {
        CheckVerdict::Allow(_) => (CheckResult::Allowed, "", true),
        CheckVerdict::Deny(_) => (CheckResult::Denied, "ext_authz_denied", false),
        CheckVerdict::Error(_) => (CheckResult::Failed, "ext_authz_error", check.fail_open),
    };
    info.check = Some(result);
    if !passes {
        info.flags |= Flags::UAEX;
        (info.detail, info.is_denied) = (detail, true);
    }
    passes
}
