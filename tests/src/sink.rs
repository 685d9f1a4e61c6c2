//! A server that only drains: it reads what it receives, keeps nothing, and responds that it accepted everything.
//!
//! It has neither of the newer routes, so that it doesn't have to parse what it receives: their responses name each
//! event.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// The server. It runs until the process ends.
#[derive(Debug)]
pub struct Sink {
    origin: String,
    connections: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl Default for Sink {
    fn default() -> Self {
        Self::start()
    }
}

impl Sink {
    /// Listens on loopback.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (connections, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (of_thread, all) = (Arc::clone(&connections), Arc::clone(&bytes));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                of_thread.fetch_add(1, Ordering::Relaxed);
                let bytes = Arc::clone(&all);
                // A disconnecting client is not a failure of the server.
                thread::spawn(move || drop(drain(&stream, &bytes)));
            }
        });
        Self { origin, connections, bytes }
    }

    /// `http://127.0.0.1:…`
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The number of connections so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// The number of bytes in bodies so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn drain(stream: &TcpStream, bytes: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(1 << 18, stream);
    loop {
        let (mut length, mut path, mut line) = (0, String::new(), String::new());
        while reader.read_line(&mut line)? > 0 && line != "\r\n" {
            if path.is_empty() {
                line.split(' ').nth(1).unwrap_or_default().clone_into(&mut path);
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            line.clear();
        }
        if path.is_empty() {
            return Ok(());
        }
        io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
        bytes.fetch_add(length, Ordering::Relaxed);
        let (status, body) = if path == "/batch/" { ("200 OK", "{\"status\":1}") } else { ("404 Not Found", "") };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        (&*stream).write_all(answer.as_bytes())?;
    }
}
