use super::*;
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use tokio::net::{TcpListener, UnixListener};

fn endpoint(address: EndpointAddress) -> Arc<EndpointState> {
    Arc::new(EndpointState::new(&Arc::default(), address, Duration::from_secs(60)))
}

#[tokio::test]
async fn a_connection_sends_at_once_and_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint(EndpointAddress::Ip(listener.local_addr().unwrap()));
    let connection = connect(&endpoint, None, None, Duration::from_secs(5)).await.unwrap();
    let Stream::Tcp(stream) = &connection.stream else { panic!("not TCP") };
    assert!(stream.nodelay().unwrap() && !connection.reused);
    assert_eq!((endpoint.opened(), endpoint.failed()), (1, 0));
}

#[tokio::test]
async fn a_unix_socket_is_connected_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    let mut connection =
        connect(&endpoint(EndpointAddress::Unix(path.into())), None, None, Duration::from_secs(5)).await.unwrap();
    assert!(matches!(connection.stream, Stream::Unix(_)) && connection.stream.is_silent());
}

#[tokio::test]
async fn a_port_without_listener_refuses() {
    let endpoint = endpoint(EndpointAddress::Ip(testkit::ports::refusing()));
    let error = connect(&endpoint, None, None, Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused), "{error:?}");
    assert_eq!(error.to_string(), "delayed connect error: Connection refused");
    assert_eq!((endpoint.opened(), endpoint.failed()), (0, 1));
}

/// An address that answers no further connection, and what keeps it so.
fn silent() -> (SocketAddr, impl Sized) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    // Once its queue is full, further connections wait.
    let full: Vec<_> = (0..16)
        .map_while(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok())
        .collect();
    assert!(full.len() < 16);
    (address, (listener, full))
}

#[tokio::test(start_paused = true)]
async fn dr_20_a_listener_that_does_not_accept_is_given_up() {
    let (address, _full) = silent();
    let endpoint = endpoint(EndpointAddress::Ip(address));
    let error = connect(&endpoint, None, None, Duration::from_secs(10)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout), "{error:?}");
}

#[tokio::test]
async fn rfc_8305_an_address_that_is_silent_or_refuses_is_replaced_by_that_of_the_other_family() {
    let (address, _full) = silent();
    let silent = endpoint(EndpointAddress::Ip(address));
    let refusing = endpoint(EndpointAddress::Ip(testkit::ports::refusing()));
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let open = endpoint(EndpointAddress::Ip(listener.local_addr().unwrap()));
    let limit = Duration::from_secs(30);
    let connection = connect(&silent, Some(&open), None, limit).await.unwrap();
    assert!(Arc::ptr_eq(&connection.endpoint, &open));
    // The silent one has not failed yet.
    assert_eq!((silent.failed(), open.opened(), open.failed()), (0, 1, 0));
    let connection = connect(&refusing, Some(&open), None, limit).await.unwrap();
    assert!(Arc::ptr_eq(&connection.endpoint, &open));
    assert_eq!((refusing.failed(), open.opened()), (1, 2));
    // The first is used where both are there, and the error is that of the first where none is.
    let connection = connect(&open, Some(&refusing), None, limit).await.unwrap();
    assert!(Arc::ptr_eq(&connection.endpoint, &open));
    let error = connect(&refusing, Some(&refusing), None, limit).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused), "{error:?}");
    let error = connect(&silent, Some(&refusing), None, Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout), "{error:?}");
}

#[tokio::test]
async fn dr_20_keepalive_settings_reach_the_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint(EndpointAddress::Ip(listener.local_addr().unwrap()));
    let connection = connect(&endpoint, None, None, Duration::from_secs(5)).await.unwrap();
    let socket = socket2::SockRef::from(connection.stream.tcp().unwrap());
    assert!(!socket.keepalive().unwrap());
    let seconds = Duration::from_secs;
    let usual = {
        keep_alive(&connection.stream, &TcpKeepalive::default());
        socket.tcp_keepalive_time().unwrap()
    };
    assert!(socket.keepalive().unwrap());
    let probes = TcpKeepalive { probes: Some(4), time: None, interval: Some(seconds(7)) };
    keep_alive(&connection.stream, &probes);
    let of = (socket.tcp_keepalive_retries().unwrap(), socket.tcp_keepalive_interval().unwrap());
    assert_eq!((of, socket.tcp_keepalive_time().unwrap()), ((4, seconds(7)), usual));
    keep_alive(&connection.stream, &TcpKeepalive { time: Some(seconds(90)), ..probes });
    assert_eq!(socket.tcp_keepalive_time().unwrap(), seconds(90));
}

#[test]
fn system_errors_are_distinguished() {
    let of = |code: i32| ConnectError::from(io::Error::from_raw_os_error(code));
    assert!(matches!(of(24), ConnectError::OutOfFiles(_)) && matches!(of(23), ConnectError::OutOfFiles(_)));
    assert!(matches!(of(111), ConnectError::Refused) && matches!(of(110), ConnectError::Timeout));
    assert!(matches!(of(113), ConnectError::Unreachable(_)) && matches!(of(101), ConnectError::Unreachable(_)));
    assert_eq!(of(113).to_string(), "delayed connect error: No route to host");
    assert!(matches!(of(13), ConnectError::Io(_)));
}

#[tokio::test]
async fn connections_to_all_endpoints_have_a_bound_and_idle_ones_count() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let all = Arc::<crate::endpoint::Endpoints>::default();
    all.limit(Some(2));
    let address = EndpointAddress::Ip(listener.local_addr().unwrap());
    let of = || Arc::new(EndpointState::new(&all, address.clone(), Duration::from_secs(60)));
    let (one, other) = (of(), of());
    let limit = Duration::from_secs(5);
    let (first, second) =
        (connect(&one, None, None, limit).await.unwrap(), connect(&other, None, None, limit).await.unwrap());
    assert!(matches!(connect(&one, None, None, limit).await, Err(ConnectError::Overflow)));
    assert!(first.share(Instant::now()));
    assert!(matches!(connect(&other, None, None, limit).await, Err(ConnectError::Overflow)));
    drop(Connection::take_shared(&one).unwrap());
    let third = connect(&other, None, None, limit).await.unwrap();
    drop((second, third));
    assert!(connect(&one, None, None, limit).await.is_ok());
}
