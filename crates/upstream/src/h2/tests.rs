use super::*;
use crate::balance::PickContext;
use crate::fixture;
use crate::store::{Settings, UpstreamStore};
use ::h2::server;
use http::{Request, Response};
use ir::{Cluster, Delta, Endpoint, EndpointAddress, EndpointSource, PoolLimits, Snapshot};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

/// An endpoint that answers every stream, but for what `act` does with a connection.
struct Backend {
    listener: TcpListener,
}

impl Backend {
    async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn cluster(&self, streams: Option<u32>) -> (Arc<ClusterState>, Arc<EndpointState>) {
        self.cluster_with(streams, None)
    }

    fn cluster_with(
        &self,
        streams: Option<u32>,
        limits: Option<PoolLimits>,
    ) -> (Arc<ClusterState>, Arc<EndpointState>) {
        let address = EndpointAddress::Ip(self.listener.local_addr().unwrap());
        let endpoints = [Endpoint { address, weight: 1, locality: None, priority: 0 }];
        let cluster = Cluster {
            protocol: UpstreamProtocol::Http2 { streams, keep_alive: None },
            limits: limits.map(Into::into),
            ..fixture::cluster("a.test", EndpointSource::Static(endpoints.into()))
        };
        let id = cluster.id.clone();
        let upstream = UpstreamStore::new(&Settings::default(), tokio::runtime::Handle::current());
        let snapshot =
            Snapshot { clusters: [(id.clone(), Arc::new(cluster))].into_iter().collect(), ..Snapshot::default() };
        upstream.apply(&snapshot, &Delta::default());
        let state = upstream.cluster(upstream.slot(&id)).unwrap();
        let endpoint = state.pick(&mut || 0, PickContext::default()).unwrap().endpoint;
        (state, endpoint)
    }

    /// Answers the streams of one connection; after `most` of them it goes away.
    async fn serve_one(&self, most: usize) -> usize {
        let (stream, _) = self.listener.accept().await.unwrap();
        let mut connection = server::handshake(stream).await.unwrap();
        let mut answered = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_response(Response::new(()), true).unwrap();
            answered += 1;
            if answered == most {
                connection.graceful_shutdown();
            }
        }
        answered
    }
}

fn pool() -> RefCell<Streams> {
    RefCell::default()
}

async fn ask(pool: &RefCell<Streams>, of: &(Arc<ClusterState>, Arc<EndpointState>)) -> Result<bool, ::h2::Error> {
    let H2Stream { mut send, reused, permit, .. } =
        h2_stream(pool, &of.0, &of.1, ConnectContext::default(), Duration::from_secs(5)).await.unwrap();
    let (response, _) = send.send_request(Request::get("http://a.test/").body(()).unwrap(), true)?;
    response.await?;
    drop(permit);
    Ok(reused)
}

async fn local<R>(test: impl Future<Output = R>) -> R {
    LocalSet::new().run_until(test).await
}

use std::future::Future;

#[tokio::test]
async fn requests_that_come_at_once_make_one_connection() {
    local(async {
        let backend = Backend::new().await;
        let (of, pool) = (backend.cluster(None), pool());
        let serving = backend.serve_one(usize::MAX);
        let asking = async {
            let (a, b, c) = tokio::join!(ask(&pool, &of), ask(&pool, &of), ask(&pool, &of));
            let reused: Vec<_> = [a, b, c].into_iter().map(Result::unwrap).collect();
            assert_eq!(reused.iter().filter(|reused| !**reused).count(), 1);
            assert_eq!(pool.borrow().len(), 1);
            pool.borrow_mut().sweep(Instant::now() + Duration::from_secs(61));
            assert_eq!(pool.borrow().len(), 0);
        };
        assert_eq!(tokio::join!(serving, asking).0, 3);
    })
    .await;
}

#[tokio::test]
async fn dr_21_streams_beyond_the_limit_take_another_connection() {
    local(async {
        let backend = Backend::new().await;
        let (of, pool) = (backend.cluster(Some(1)), pool());
        let serving = async { tokio::join!(backend.serve_one(usize::MAX), backend.serve_one(usize::MAX)) };
        let asking = async {
            let first =
                h2_stream(&pool, &of.0, &of.1, ConnectContext::default(), Duration::from_secs(5)).await.unwrap();
            let second =
                h2_stream(&pool, &of.0, &of.1, ConnectContext::default(), Duration::from_secs(5)).await.unwrap();
            assert_eq!((first.reused, second.reused, pool.borrow().len()), (false, false, 2));
            drop((first, second));
            assert!(ask(&pool, &of).await.unwrap());
            pool.borrow_mut().sweep(Instant::now() + Duration::from_secs(61));
        };
        let ((one, other), ()) = tokio::join!(serving, asking);
        assert_eq!(one + other, 1);
    })
    .await;
}

#[tokio::test]
async fn dr_42_connections_with_other_pool_keys_do_not_block() {
    local(async {
        let backend = Backend::new().await;
        let (of, pool) = (backend.cluster(Some(1)), pool());
        let serving = async {
            let mut connections = Vec::new();
            while connections.len() < CONNECTIONS {
                let (stream, _) = backend.listener.accept().await.unwrap();
                let mut connection = server::handshake(stream).await.unwrap();
                connections.push(tokio::task::spawn_local(async move { while connection.accept().await.is_some() {} }));
            }
        };
        let asking = async {
            let mut held = Vec::new();
            for _ in 0..CONNECTIONS {
                held.push(
                    h2_stream(&pool, &of.0, &of.1, ConnectContext::default(), Duration::from_secs(5)).await.unwrap(),
                );
            }
            // Who waits in vain for those that are wanted has no fault of the endpoint to tell.
            let late = h2_stream(&pool, &of.0, &of.1, ConnectContext::default(), Duration::from_millis(10)).await;
            assert!(late.unwrap_err().is_own());
            let other = PoolKey { tls: None, proxy_header: None };
            let next = |wanted| pool.borrow_mut().next(&of.0, &of.1, wanted);
            assert!(matches!(next(None), Next::Wait(_)));
            assert!(matches!(next(Some(&other)), Next::Connect(..)));
            pool.borrow_mut().by_endpoint.clear();
        };
        tokio::join!(serving, asking);
    })
    .await;
}

#[tokio::test]
async fn dr_20_an_idle_connection_of_another_kind_gives_its_place() {
    local(async {
        let backend = Backend::new().await;
        let limits = PoolLimits { max_connections: Some(1), ..PoolLimits::default() };
        let (of, pool) = (backend.cluster_with(None, Some(limits)), pool());
        let serving = backend.serve_one(usize::MAX);
        let asking = async {
            let held = h2_stream(&pool, &of.0, &of.1, ConnectContext::default(), Duration::from_secs(5)).await.unwrap();
            let other = PoolKey { tls: None, proxy_header: None };
            let next = || pool.borrow_mut().next(&of.0, &of.1, Some(&other));
            assert!(matches!(next(), Next::Wait(_)));
            drop(held);
            assert!(matches!(next(), Next::Connect(_, Some(_))));
        };
        assert_eq!(tokio::join!(serving, asking).0, 0);
    })
    .await;
}

#[tokio::test]
async fn goaway_loses_no_request() {
    local(async {
        let backend = Backend::new().await;
        let (of, pool) = (backend.cluster(None), pool());
        let serving = async {
            let mut answered = 0;
            while answered < 20 {
                answered += backend.serve_one(3).await;
            }
        };
        let asking = async {
            let mut done = 0;
            while done < 20 {
                match ask(&pool, &of).await {
                    Ok(_) => done += 1,
                    Err(error) => assert!(is_unprocessed(&error), "{error:?}"),
                }
            }
            pool.borrow_mut().sweep(Instant::now() + Duration::from_secs(61));
        };
        tokio::join!(serving, asking);
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_an_error_for_all_that_wait() {
    local(async {
        let backend = Backend::new().await;
        let (of, pool) = (backend.cluster(None), pool());
        drop(backend);
        let stream = || h2_stream(&pool, &of.0, &of.1, ConnectContext::default(), Duration::from_secs(5));
        let (a, b) = tokio::join!(stream(), stream());
        assert!(matches!((a, b), (Err(ConnectError::Refused), Err(ConnectError::Refused))));
    })
    .await;
}
