//! What a client is charged for: the heads and bodies that are held for it, and what is read ahead of it.

use super::Downstream;
use super::Protocol::{H1, H2};
use crate::codec::upstream::Upstream;
use crate::conn::{Account, Budget, BudgetExceeded, Charge, MIN_PER_STREAM};
use std::rc::Rc;

impl Downstream {
    /// The account of responses that the library queues for the client.
    pub(crate) fn response_account(&self) -> Option<&Rc<Account>> {
        match &self.protocol {
            H1(_) => None,
            H2(stream) => Some(&stream.accounts.responses),
        }
    }

    /// A charge of nothing, for what is held of the request.
    pub(crate) fn request_charge(&self) -> Option<Charge> {
        match &self.protocol {
            H1(_) => None,
            H2(stream) => Some(stream.accounts.heads.nothing()),
        }
    }

    /// A charge of nothing, for a body that is held; `budget` is that of a connection which has no account yet.
    pub(crate) fn body_charge(&self, budget: &Rc<Budget>) -> Charge {
        match &self.protocol {
            H1(_) => budget.account().nothing(),
            H2(stream) => stream.accounts.bodies.nothing(),
        }
    }

    /// How much may be read ahead of the client at once.
    pub(crate) fn read_ahead_limit(&self) -> usize {
        match self.response_account() {
            Some(account) if account.is_tight() => MIN_PER_STREAM,
            Some(_) | None => usize::MAX,
        }
    }

    /// Charges the client's connection for what a backend may have sent ahead, of `octets` at most; `None` if the client or the backend has a
    /// connection for itself, where the kernel holds it.
    pub(crate) fn charge_ahead(&self, up: &Upstream, octets: u64) -> Option<Result<Charge, BudgetExceeded>> {
        match &self.protocol {
            H2(stream) if up.is_multiplexed() => {
                let octets = octets.min(u64::from(::upstream::STREAM_WINDOW)) as usize;
                Some(stream.accounts.ahead.charge(octets))
            }
            H1(_) | H2(_) => None,
        }
    }
}
