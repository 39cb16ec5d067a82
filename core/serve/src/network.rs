//! The threads that read requests and write answers.

use crate::tls;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use std::{
    io, net,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::{Builder, Handle},
    sync::{OwnedSemaphorePermit, oneshot, watch},
};
use tokio_rustls::TlsAcceptor;

/// How long a handshake or the header of a request may take, and how long a connection may be idle.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// How long threads that still do something are waited for at the end.
const LAST: Duration = Duration::from_secs(1);

/// The threads that read requests and write answers. Each keeps the connections that it was given: threads
/// that take tasks from one another wake each other for every request.
pub struct Network {
    threads: Vec<NetworkThread>,
    graceful: GracefulShutdown,
    stopping: watch::Sender<bool>,
    /// Disconnected when all threads have ended.
    ended: mpsc::Receiver<()>,
}

struct NetworkThread {
    handle: Handle,
    /// Every connection of the thread holds one more.
    connections: Arc<()>,
    /// Ends the thread when it is dropped.
    _stop: oneshot::Sender<()>,
}

/// An accepted connection.
pub struct Connection {
    pub stream: net::TcpStream,
    /// Its place among the connections.
    pub place: OwnedSemaphorePermit,
    /// Does the handshake, if it needs one.
    pub acceptor: Option<TlsAcceptor>,
    /// The most time for the handshake.
    pub timeout: Duration,
}

impl Network {
    /// Starts this many threads.
    ///
    /// # Errors
    /// If the system gives no more threads or files.
    pub fn start(threads: usize) -> io::Result<Self> {
        let (running, ended) = mpsc::channel();
        let threads =
            (0..threads).map(|_| NetworkThread::start(running.clone())).collect::<Result<_, _>>()?;
        Ok(Self { threads, graceful: GracefulShutdown::new(), stopping: watch::Sender::new(false), ended })
    }

    /// Answers the requests of a connection, on the thread with the fewest connections.
    pub fn answer(&self, connection: Connection, router: Router) {
        let fewest = self.threads.iter().min_by_key(|thread| Arc::strong_count(&thread.connections));
        let Some(thread) = fewest else { return };
        let counted = Arc::clone(&thread.connections);
        let (watcher, mut stopping) = (self.graceful.watcher(), self.stopping.subscribe());
        thread.handle.spawn(async move {
            // A handshake has no request that is to be answered.
            let stopping = async { stopping.wait_for(|stopping| *stopping).await.is_ok() };
            answer(connection, router, watcher, stopping).await;
            drop(counted);
        });
    }

    /// Lets every connection answer the request that it reads or runs, and closes it.
    pub async fn drain(&mut self) {
        self.stopping.send_replace(true);
        std::mem::take(&mut self.graceful).shutdown().await;
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.threads.clear();
        let _ = self.ended.recv_timeout(LAST); // a plugin may hang
    }
}

impl NetworkThread {
    fn start(running: mpsc::Sender<()>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, (stop, stopped)) = (runtime.handle().clone(), oneshot::channel::<()>());
        thread::Builder::new().name("network".to_owned()).spawn(move || {
            let _ = runtime.block_on(stopped); // the sender is dropped, and sends nothing
            runtime.shutdown_timeout(LAST);
            drop(running);
        })?;
        Ok(Self { handle, connections: Arc::new(()), _stop: stop })
    }
}

/// Answers the requests of a connection until it is closed. A handshake ends with `stopping`.
async fn answer(
    connection: Connection,
    router: Router,
    watcher: Watcher,
    stopping: impl Future<Output = bool>,
) {
    let Connection { stream, place, acceptor, timeout } = connection;
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    match acceptor {
        None => answer_stream(stream, router, watcher).await,
        Some(acceptor) => tokio::select! {
            greeted = tls::greet(acceptor, stream, HEADER_TIME.min(timeout)) => {
                if let Some(stream) = greeted {
                    answer_stream(stream, router, watcher).await;
                }
            }
            _ = stopping => {}
        },
    }
    drop(place);
}

async fn answer_stream(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    watcher: Watcher,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let _ = watcher.watch(connection).await; // a client that breaks off is no error of the server
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::{
        io::{Read, Write},
        sync::Mutex,
    };
    use tokio::sync::Semaphore;

    fn ask(client: &mut net::TcpStream, path: &str) {
        client.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).unwrap();
    }

    fn answer_of(client: &mut net::TcpStream) -> String {
        let mut bytes = [0; 4096];
        let read = client.read(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }

    #[test]
    fn a_connection_is_answered_while_the_thread_of_another_is_busy() {
        let (release, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let busy = move || async move {
            wait.lock().unwrap().recv().unwrap(); // as a plugin that hangs would
            "late"
        };
        let router = Router::new().route("/busy", get(busy)).route("/", get(|| async { "soon" }));
        let network = Network::start(2).unwrap();
        let (listener, places) =
            (net::TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(Semaphore::new(9)));
        let connect = || {
            let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let stream = listener.accept().unwrap().0;
            stream.set_nonblocking(true).unwrap();
            let place = Arc::clone(&places).try_acquire_owned().unwrap();
            let timeout = Duration::from_secs(9);
            network.answer(Connection { stream, place, acceptor: None, timeout }, router.clone());
            client
        };
        let (mut first, mut second) = (connect(), connect());
        ask(&mut first, "/busy");
        ask(&mut second, "/");
        assert!(answer_of(&mut second).ends_with("soon"));
        release.send(()).unwrap();
        assert!(answer_of(&mut first).ends_with("late"));
        drop((first, second));
        // Both places are given back when the connections are closed.
        let all = Duration::from_secs(20);
        let closed = std::time::Instant::now();
        while places.available_permits() < 9 && closed.elapsed() < all {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(places.available_permits(), 9);
    }
}
