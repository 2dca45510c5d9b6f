//! Who may have names resolved now. Lookups of clients are bounded as a whole, and a client that asks for many names does not keep the others from
//! theirs: where there is no turn left, one who has fewer takes over the oldest of those who have most.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Turns for the lookups of all clients.
#[derive(Debug)]
pub(crate) struct Turns {
    most: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    /// The turns of each client, the oldest first.
    by_client: HashMap<Client, Vec<(u64, Arc<Notify>)>>,
    count: usize,
    next: u64,
}

/// Whom a lookup is for. A client of IPv6 has a whole network of addresses (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Client(IpAddr);

impl Client {
    fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX)).into(),
            four @ IpAddr::V4(_) => four,
        })
    }
}

/// A turn, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    client: Client,
    number: u64,
    over: Arc<Notify>,
}

impl Turns {
    /// `most` at one time.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), taken: Mutex::default(), freed: Notify::new() })
    }

    /// Waits for a turn.
    pub(crate) async fn take(self: &Arc<Self>, client: IpAddr) -> Turn {
        let client = Client::of(client);
        loop {
            let mut freed = pin!(self.freed.notified());
            // Before the attempt, so that no end of a turn is missed.
            freed.as_mut().enable();
            if let Some(turn) = self.try_take(client) {
                return turn;
            }
            freed.await;
        }
    }

    fn try_take(self: &Arc<Self>, client: Client) -> Option<Turn> {
        let mut taken = self.taken();
        if taken.count >= self.most {
            let own = taken.by_client.get(&client).map_or(0, Vec::len);
            let (most, held) =
                taken.by_client.iter().map(|(client, turns)| (*client, turns.len())).max_by_key(|(_, held)| *held)?;
            // With one more, it has no more than the other keeps.
            if held < own + 2 {
                return None;
            }
            taken.end_oldest(most);
        }
        let (number, over) = (taken.next, Arc::<Notify>::default());
        taken.next += 1;
        taken.count += 1;
        taken.by_client.entry(client).or_default().push((number, Arc::clone(&over)));
        drop(taken);
        Some(Turn { turns: Arc::clone(self), client, number, over })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn end_oldest(&mut self, client: Client) {
        let Some(turns) = self.by_client.get_mut(&client).filter(|turns| !turns.is_empty()) else { return };
        let (_, over) = turns.remove(0);
        over.notify_one();
        self.count -= 1;
    }

    fn remove(&mut self, client: Client, number: u64) {
        let Some(turns) = self.by_client.get_mut(&client) else { return };
        let before = turns.len();
        turns.retain(|(other, _)| *other != number);
        self.count -= before - turns.len();
        if turns.is_empty() {
            self.by_client.remove(&client);
        }
    }
}

impl Turn {
    /// Ready when another client has taken the turn over.
    pub(crate) async fn over(&self) {
        self.over.notified().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.taken().remove(self.client, self.number);
        self.turns.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
        std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn is_over(turn: &Turn) -> bool {
        poll(&mut Box::pin(turn.over())).is_ready()
    }

    fn turn(turns: &Arc<Turns>, client: &str) -> Option<Turn> {
        turns.try_take(Client::of(address(client)))
    }

    #[test]
    fn a_client_has_all_turns_until_others_ask() {
        let turns = Turns::new(4);
        let own: Vec<Turn> = (0..4).map(|_| turn(&turns, "10.0.0.1").unwrap()).collect();
        assert!(turn(&turns, "10.0.0.1").is_none());
        let others = ["10.0.0.2", "10.0.0.2"].map(|client| turn(&turns, client).unwrap());
        assert_eq!(own.iter().map(is_over).collect::<Vec<_>>(), [true, true, false, false]);
        // Both have as many: neither takes the other's.
        assert!(turn(&turns, "10.0.0.2").is_none() && turn(&turns, "10.0.0.1").is_none());
        let third = turn(&turns, "10.0.0.3").unwrap();
        assert_eq!(turns.taken().count, 4);
        drop((own, others, third));
        let taken = turns.taken();
        assert_eq!((taken.count, taken.by_client.len()), (0, 0));
    }

    #[test]
    fn the_addresses_of_a_network_of_ipv6_are_one_client() {
        let turns = Turns::new(2);
        let _own = ["2001:db8::1", "2001:db8::2:3"].map(|client| turn(&turns, client).unwrap());
        assert!(turn(&turns, "2001:db8::ffff").is_none());
        assert!(turn(&turns, "2001:db8:0:1::1").is_some());
        let turns = Turns::new(2);
        let _own = ["10.0.0.1", "::ffff:10.0.0.1"].map(|client| turn(&turns, client).unwrap());
        assert!(turn(&turns, "10.0.0.1").is_none());
    }

    #[test]
    fn who_waits_has_the_next_turn_that_ends() {
        let turns = Turns::new(1);
        let first = turn(&turns, "10.0.0.1").unwrap();
        let mut second = Box::pin(turns.take(address("10.0.0.2")));
        assert!(poll(&mut second).is_pending());
        drop(first);
        let Poll::Ready(second) = poll(&mut second) else { panic!("the turn is free") };
        assert!(!is_over(&second));
    }
}
