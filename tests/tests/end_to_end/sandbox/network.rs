//! Requests, sockets and names.

use super::*;
use posthog_llma_sandbox::policy::Refusal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A local server that answers every request with the same bytes and counts connections.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (counted, noted) = (Arc::clone(&connections), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let Ok(mut stream) = stream else { continue };
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<String> =
                    lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                noted.lock().unwrap().push(head.join("\n"));
                let _ = stream.write_all(&answer);
                let _ = stream.shutdown(std::net::Shutdown::Write);
                // Until the client is done too: closing earlier would reset the connection.
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        Self { port, connections, requests }
    }

    fn fine() -> Self {
        Self::start("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    }

    fn connections(&self) -> usize {
        // A connection that is made shows up here a little later.
        std::thread::sleep(Duration::from_millis(50));
        self.connections.load(Ordering::SeqCst)
    }

    fn policy(&self) -> HttpPolicy {
        HttpPolicy::Allow(AllowedDestination::batches(
            Origin::parse(&format!("http://127.0.0.1:{}", self.port), true).unwrap(),
        ))
    }
}

/// The component makes this request while only `server` is allowed. Asserts that it sees the refusal, that the host
/// logs it, and that the server gets no connection.
fn assert_refused(server: &Server, request: &str, refusal: Refusal) {
    let run = Attempt { argument: request, policy: server.policy(), ..Attempt::default() }.run("request");
    assert_eq!(run.result.unwrap(), "ErrorCode::HttpRequestDenied", "{request}");
    let refusals: Vec<_> = run.requests.refusals().map(|r| r.refusal).collect();
    assert_eq!(refusals, [Some(refusal)], "{request}");
    assert_eq!(run.requests.allowed(), 0, "{request}");
    assert_eq!(server.connections(), 0, "{request}");
}

#[test]
fn a_request_to_the_destination_is_made_and_noted() {
    let server = Server::fine();
    let run = Attempt {
        argument: &format!("POST http://127.0.0.1:{}/i/v0/ai/batch/", server.port),
        policy: server.policy(),
        ..Attempt::default()
    }
    .run("request");
    assert_eq!(run.result.unwrap(), "200: ok");
    assert_eq!((run.requests.allowed(), run.requests.refused()), (1, 0));
    let heads = server.requests.lock().unwrap().clone();
    assert!(heads[0].starts_with("POST /i/v0/ai/batch/ HTTP/1.1\n"), "{heads:?}");
}

#[test]
fn every_request_is_refused_when_none_is_allowed() {
    let server = Server::fine();
    let run = Attempt { argument: &format!("POST http://127.0.0.1:{}/batch/", server.port), ..Attempt::default() }
        .run("request");
    assert_eq!(run.result.unwrap(), "ErrorCode::HttpRequestDenied");
    let refusals: Vec<_> = run.requests.refusals().map(|r| r.refusal).collect();
    assert_eq!(refusals, [Some(Refusal::NoNetwork)]);
    assert_eq!(server.connections(), 0);
}

#[test]
fn another_host_is_refused() {
    let server = Server::fine();
    let port = server.port;
    for host in ["127.0.0.2", "localhost", "[::1]", "example.com"] {
        let request = format!("POST http://{host}:{port}/batch/");
        assert_refused(&server, &request, Refusal::Host);
    }
}

#[test]
fn a_sub_domain_is_refused() {
    let server = Server::fine();
    let policy = HttpPolicy::Allow(AllowedDestination::batches(
        Origin::parse(&format!("http://localhost:{}", server.port), true).unwrap(),
    ));
    let run = Attempt {
        argument: &format!("POST http://sub.localhost:{}/batch/", server.port),
        policy,
        ..Attempt::default()
    }
    .run("request");
    assert_eq!(run.result.unwrap(), "ErrorCode::HttpRequestDenied");
    assert_eq!(run.requests.refused(), 1);
    assert_eq!(server.connections(), 0);
}

#[test]
fn another_port_is_refused() {
    let server = Server::fine();
    let other = Server::fine();
    let request = format!("POST http://127.0.0.1:{}/batch/", other.port);
    assert_refused(&server, &request, Refusal::Port);
    assert_eq!(other.connections(), 0);
    assert_refused(&server, "POST http://127.0.0.1/batch/", Refusal::Port);
}

#[test]
fn another_scheme_is_refused() {
    let server = Server::fine();
    for scheme in ["https", "ftp", "HTTP"] {
        let request = format!("POST {scheme}://127.0.0.1:{}/batch/", server.port);
        assert_refused(&server, &request, Refusal::Scheme);
    }
}

#[test]
fn another_method_is_refused() {
    let server = Server::fine();
    for method in ["GET", "PUT", "DELETE", "post"] {
        let request = format!("{method} http://127.0.0.1:{}/batch/", server.port);
        assert_refused(&server, &request, Refusal::Method);
    }
}

#[test]
fn another_path_is_refused() {
    let server = Server::fine();
    for path in ["/", "/batch", "/batch/../e/", "//batch/", "/x/../batch/"] {
        let request = format!("POST http://127.0.0.1:{}{path}", server.port);
        assert_refused(&server, &request, Refusal::Path);
    }
}

#[test]
fn a_query_is_refused() {
    let server = Server::fine();
    let request = format!("POST http://127.0.0.1:{}/batch/?x=secret", server.port);
    assert_refused(&server, &request, Refusal::Query);
}

#[test]
fn user_info_is_refused() {
    let server = Server::fine();
    let request = format!("POST http://me:secret@127.0.0.1:{}/batch/", server.port);
    assert_refused(&server, &request, Refusal::UserInfo);
}

#[test]
fn the_target_of_a_redirect_is_neither_followed_nor_allowed() {
    let target = Server::fine();
    let server = Server::start(format!(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{}/batch/\r\ncontent-length: 0\r\n\r\n",
        target.port
    ));
    let run = Attempt {
        argument: &format!("POST http://127.0.0.1:{}/batch/", server.port),
        policy: server.policy(),
        ..Attempt::default()
    }
    .run("follow-redirect");
    assert_eq!(
        run.result.unwrap(),
        format!("302 to http://127.0.0.1:{}/batch/: \nErrorCode::HttpRequestDenied", target.port)
    );
    assert_eq!((run.requests.allowed(), run.requests.refused()), (1, 1));
    assert_eq!(server.connections(), 1);
    assert_eq!(target.connections(), 0);
}

#[test]
fn a_response_over_the_cap_is_an_error_and_not_held_in_memory() {
    let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n".to_vec();
    answer.resize(answer.len() + 3_000_000, b'x');
    let server = Server::start(answer);
    let told = Attempt {
        argument: &format!("POST http://127.0.0.1:{}/batch/", server.port),
        policy: server.policy(),
        ..Attempt::default()
    }
    .tells("request");
    assert_eq!(told, "ErrorCode::HttpResponseBodySize(Some(1048576))");
}

#[test]
fn a_tcp_connection_is_refused() {
    let server = Server::fine();
    let told = tells("tcp-connect", &format!("127.0.0.1:{}", server.port));
    assert!(told.starts_with("failed"), "{told}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn listening_on_a_tcp_port_is_refused() {
    let told = tells("tcp-listen", "127.0.0.1:0");
    assert!(told.starts_with("failed"), "{told}");
}

#[test]
fn a_udp_packet_is_refused() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let told = tells("udp-send", &socket.local_addr().unwrap().to_string());
    assert!(told.starts_with("failed"), "{told}");
    assert!(socket.recv(&mut [0; 10]).is_err());
}

#[test]
fn a_name_lookup_is_refused() {
    let told = tells("name-lookup", "localhost:80");
    assert!(told.starts_with("failed"), "{told}");
}
