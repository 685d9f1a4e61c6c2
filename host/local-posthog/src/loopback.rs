//! A server on loopback with its own thread and runtime: callers may be async or not, and may block on a child process.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};

/// Maximum concurrent connections; more wait in the listener's queue.
const CONNECTION_LIMIT: usize = 64;
/// Maximum lifetime of a connection, including silent and trickling ones.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(10);

/// A running server. Dropping it ends the server and its connections.
#[derive(Debug)]
pub struct Loopback {
    address: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Loopback {
    /// Listens on a free port of 127.0.0.1 and passes each connection to `serve`.
    pub fn start<Serve, Served>(name: &str, serve: Serve) -> io::Result<Self>
    where
        Serve: Fn(TcpStream) -> Served + Send + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (shutdown, stop) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stop => {}
                    () = accept(listener, serve) => {}
                }
            });
        })?;
        Ok(Self { address, shutdown: Some(shutdown), thread: Some(thread) })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        drop(self.shutdown.take());
        if let Some(thread) = self.thread.take() {
            // The thread has already printed its panic, and there is no one to report it to.
            let _ = thread.join();
        }
    }
}

async fn accept<Serve, Served>(listener: std::net::TcpListener, serve: Serve)
where
    Serve: Fn(TcpStream) -> Served,
    Served: Future<Output = ()> + Send + 'static,
{
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let places = Arc::new(Semaphore::new(CONNECTION_LIMIT));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let served = serve(stream);
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, served).await;
                    drop(place);
                });
            }
            // Out of file descriptors, or the client has already disconnected: don't spin, and don't stop.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
