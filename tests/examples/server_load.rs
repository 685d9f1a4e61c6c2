//! How much more a server gets done with more workers: sessions are posted to the `server` component on loopback, by twice
//! as many clients as it has workers.
//!
//! `cargo run -p posthog-llma-tests --release --example server_load -- [SECONDS] [TRANSCRIPT]`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use posthog_llma_tests::fixtures;
use posthog_llma_tests::server::Server;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

const MOST_SECONDS: u64 = 60;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(5, |seconds| seconds.parse().unwrap()).min(MOST_SECONDS);
    let transcript = arguments.next().map_or_else(|| fixtures::transcripts("demo").unwrap().remove(0), PathBuf::from);
    let id = transcript.file_stem().unwrap().to_str().unwrap();
    let body = fs::read(&transcript).unwrap();
    let cores = thread::available_parallelism().unwrap().get();

    println!("{} KiB a session, {seconds} s each, {cores} cores, which the clients share", body.len() / 1024);
    println!("{:>8} {:>12} {:>10} {:>8}", "workers", "sessions/s", "MiB/s", "times");
    let mut first = None;
    for workers in [1, 2, 4].into_iter().filter(|workers| *workers <= 2 * cores) {
        let server = Server::start(workers, &[]);
        let rate = rate(&server, 2 * workers, Duration::from_secs(seconds), id, &body);
        let first = *first.get_or_insert(rate);
        let mebibytes = rate * body.len() as f64 / f64::from(1 << 20);
        println!("{workers:>8} {rate:>12.1} {mebibytes:>10.1} {:>8.2}", rate / first);
    }
}

/// Sessions that were converted each second.
fn rate(server: &Server, clients: usize, time: Duration, id: &str, body: &[u8]) -> f64 {
    // What is compiled and mapped at first use is not measured.
    convert(server, id, body);
    let start = Instant::now();
    let converted: usize = thread::scope(|scope| {
        let client = || {
            let mut converted = 0;
            while start.elapsed() < time {
                convert(server, id, body);
                converted += 1;
            }
            converted
        };
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    converted as f64 / start.elapsed().as_secs_f64()
}

fn convert(server: &Server, id: &str, body: &[u8]) {
    let (status, events) = server.request("POST /convert", &[("posthog-session-id", id)], body).unwrap();
    assert!(status == 200 && events.starts_with(b"{"), "{status}: {}", String::from_utf8_lossy(&events));
}
