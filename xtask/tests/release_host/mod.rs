//! The host of a release: one file over HTTP, answered as a test wants it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How a request is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// With the file.
    Whole,
    /// With the file, after a second.
    Slowly,
    /// With half of the file, though all of it was promised.
    Half,
    /// With other bytes.
    With(Vec<u8>),
    /// 404.
    NotFound,
    /// The connection is closed.
    Nothing,
}

struct State {
    answer: Answer,
    requests: Vec<String>,
}

/// It serves as long as the process lives.
pub struct ReleaseHost {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl ReleaseHost {
    /// Serves the file by this name, at any place.
    pub fn start(name: &'static str, file: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { answer: Answer::Whole, requests: Vec::new() }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, file) = (Arc::clone(&shared), file.clone());
                thread::spawn(move || {
                    // A client that goes away concerns its own test alone.
                    let _ = answer(stream, name, &file, &shared);
                });
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on.
    pub fn answers(&self, answer: Answer) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).answer = answer;
    }

    /// What was asked for.
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }
}

fn answer(mut stream: TcpStream, name: &str, file: &[u8], state: &Mutex<State>) -> std::io::Result<()> {
    let mut head = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    while head.read_line(&mut line)? > 2 {}
    let answer = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.requests.push(target.clone());
        state.answer.clone()
    };
    let (promised, sent) = match &answer {
        Answer::Whole => (file.len(), file),
        Answer::Slowly => {
            thread::sleep(Duration::from_secs(1));
            (file.len(), file)
        }
        Answer::Half => (file.len(), &file[..file.len() / 2]),
        Answer::With(other) => (other.len(), &other[..]),
        Answer::NotFound => {
            return write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
        Answer::Nothing => return Ok(()),
    };
    if !target.ends_with(name) {
        return write!(stream, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {promised}\r\nconnection: close\r\n\r\n")?;
    stream.write_all(sent)
}
