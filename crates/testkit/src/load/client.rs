//! What the clients of a load have in common.

use std::time::Duration;

/// A pause of each client between its requests: the load is to be steady, not heavy.
pub(super) const PAUSE: Duration = Duration::from_millis(5);
/// The longest wait for an answer; reached only if something is broken.
pub(super) const LONGEST: Duration = Duration::from_secs(20);

/// A client: asks a host for `/`, and gives the version of an answer that is a 200.
pub(super) trait Client {
    fn ask(&mut self, host: &str) -> Result<Option<String>, String>;
}
