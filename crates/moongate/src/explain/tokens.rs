//! The tokens of a request: the verdict of each rule, and the changes of the request's head (RA-02 to RA-04).

use super::answer::TokenAnswer;
use ir::policy::{Authentication, KeySource, Provider};
use jose::{Failure, Keys};
use routing::authentication::{self, Authenticated, HeadChanges, Verified, Verify};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use wire::h1::RequestHead;
use wire::view::RequestView;

/// Octets of a token that are shown.
const SHOWN: usize = 16;

/// Verifies the tokens of a request, with keys that the configuration has.
pub(super) fn authenticate(
    config: &Authentication,
    view: &RequestView<'_>,
    answers: &mut Vec<TokenAnswer>,
) -> Result<Authenticated, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    authentication::authenticate(config, view, &mut Recorder { now, answers })
}

/// Verifies tokens, and records each verdict.
struct Recorder<'a> {
    now: u64,
    answers: &'a mut Vec<TokenAnswer>,
}

impl Verify for Recorder<'_> {
    fn verify(&mut self, provider: &Arc<Provider>, token: &str) -> Result<Arc<Verified>, Failure> {
        let verified = Verified::verify(provider, token, self.now, |_| match &provider.keys {
            KeySource::Inline(text) => Keys::parse(text).map(Arc::new).map_err(|_| Failure::NoKeys),
            KeySource::Remote(_) => Err(Failure::FetchFailed),
            KeySource::None => Err(Failure::NoKeys),
        });
        let verdict = match &verified {
            Ok(verified) => format!("valid, subject {}", verified.claims.subject().unwrap_or("-")),
            Err(Failure::FetchFailed) => "not verified: `explain` fetches no keys".to_owned(),
            Err(failure) => failure.to_string(),
        };
        let shown: String = token.chars().take(SHOWN).collect();
        self.answers.push(TokenAnswer { rule: provider.origin.to_string(), token: format!("{shown}…"), verdict });
        verified.map(Arc::new)
    }
}

/// Changes a head as the gateway does before it routes the request.
pub(super) fn amend(request: &mut RequestHead, head: &mut Vec<u8>, changes: &HeadChanges) {
    let (edits, query) = changes.of_head(request.target.of(head));
    let added = request.amend(head, &edits.fields, query.as_ref().map(Option::as_deref));
    head.extend_from_slice(&added);
}
