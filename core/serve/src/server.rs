//! The server: connections, signals, and the end.

use crate::{
    auth::ApiKey,
    items::ItemFolder,
    metrics::Metrics,
    model::Service,
    network::{Connection, Network},
    options::ServeOptions,
    registry::Registry,
    routes::router,
    state::ServerState,
    tls::TlsFiles,
};
use chiasm_pipeline::{Environment, Error};
use std::{
    io,
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;

/// The most connections; further ones wait to be accepted.
const CONNECTIONS: usize = 1024;

/// Serves runs until SIGTERM or SIGINT: it then accepts no more connections, answers what it has accepted,
/// and returns. A second signal, or the end of [`ServeOptions::drain`], ends that at once. SIGHUP loads all
/// runs again, and reads the certificate again. `listening` is called with the address when every run is
/// loaded.
///
/// # Errors
/// If a run cannot be loaded, the certificate or its key cannot be used, or the address cannot be used.
pub fn serve(options: &ServeOptions, env: &Environment, listening: &dyn Fn(SocketAddr)) -> Result<(), Error> {
    check(options)?;
    let acceptor = options.tls.as_ref().map(TlsFiles::read).transpose()?;
    let system = |what: &'static str| move |e| Error::io(what, Path::new("the server"), e);
    // This thread accepts connections and waits for signals.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(system("start"))?;
    let mut network = Network::start(network_threads(env)).map_err(system("start"))?;
    let (registry, metrics) = (Arc::new(Registry::default()), Arc::new(Metrics::default()));
    let service = Service { env, options, metrics: &metrics };
    std::thread::scope(|scope| {
        let loaded = registry.load_all(service, scope);
        let served = loaded.and_then(|runs| {
            let state = Arc::new(ServerState {
                registry: Arc::clone(&registry),
                metrics: Arc::clone(&metrics),
                options: options.clone(),
                items: ItemFolder::new().map_err(system("make a folder for"))?,
                key: options.api_key.as_deref().map(ApiKey::new),
                bodies: Arc::new(Semaphore::new(options.max_bodies.max(options.max_body).div_ceil(1024))),
                started: Instant::now(),
            });
            let registry = &registry;
            scope.spawn(move || registry.watch(runs, service, scope));
            runtime.block_on(listen(service, acceptor, &state, &mut network, listening))
        });
        // Without this, the workers of the runs that were loaded would not end.
        registry.stopping.store(true, Ordering::Relaxed);
        registry.close();
        served
    })
}

/// Returns the number of threads that read and write; the runs have their own. With more than one, a lone
/// item whose plugin hangs does not stop all of them.
fn network_threads(env: &Environment) -> usize {
    chiasm_runtime::threads(env.threads).clamp(2, 4)
}

/// Checks what cannot be served.
fn check(options: &ServeOptions) -> Result<(), Error> {
    let refused = |message: String, help: &str| Err(Error::input("chiasm::serve::options", message, help));
    for (at, served) in options.runs.iter().enumerate() {
        if options.runs[..at].iter().any(|other| other.name == served.name) {
            return refused(format!("two runs are called {:?}", served.name), "name one of them: NAME=RUN");
        }
    }
    if let Some((name, _)) =
        options.indexes.iter().find(|(name, _)| options.runs.iter().all(|r| r.name != *name))
    {
        return refused(format!("there is no run {name:?} to search"), "give --index NAME=FILE of a run");
    }
    match options.runs.is_empty() || options.max_batch == 0 || options.max_queue == 0 {
        true => refused("nothing can be served".to_owned(), "give a run, and limits above 0"),
        false => Ok(()),
    }
}

async fn listen(
    service: Service<'_>,
    mut acceptor: Option<TlsAcceptor>,
    state: &Arc<ServerState>,
    network: &mut Network,
    listening: &dyn Fn(SocketAddr),
) -> Result<(), Error> {
    let options = service.options;
    let address = SocketAddr::new(options.host, options.port);
    let failed = |e| Error::io("listen on", Path::new(&address.to_string()), e);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let mut stops = Stops::new().map_err(failed)?;
    let mut reload = signal(SignalKind::hangup()).map_err(failed)?;
    listening(listener.local_addr().map_err(failed)?);
    let (router, places) = (router(Arc::clone(state)), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        tokio::select! {
            () = stops.next() => break,
            _ = reload.recv() => {
                state.registry.reload.store(true, Ordering::Relaxed);
                read_again(service, &mut acceptor);
            }
            accepted = accept(&listener, &places) => if let Some((stream, place)) = accepted {
                let acceptor = acceptor.clone();
                let connection = Connection { stream, place, acceptor, timeout: options.timeout };
                network.answer(connection, router.clone());
            },
        }
    }
    drop(listener);
    state.registry.stopping.store(true, Ordering::Relaxed);
    tokio::select! {
        () = network.drain() => {}
        () = tokio::time::sleep(options.drain) => {}
        () = stops.next() => {}
    }
    Ok(())
}

/// Reads the certificate and its key again. If they cannot be used, the older ones stay.
fn read_again(service: Service<'_>, acceptor: &mut Option<TlsAcceptor>) {
    let Some(files) = &service.options.tls else { return };
    match files.read() {
        Ok(newer) => *acceptor = Some(newer),
        Err(error) => {
            service.env.reporter.note(&format!("the older certificate stays: {error}"));
        }
    }
}

/// Accepts a connection when there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
        Ok(stream) => {
            let _ = stream.set_nodelay(true); // only latency depends on it
            Some((stream, place))
        }
        Err(_) => {
            // Out of file descriptors, for example: others end soon.
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// The signals that stop the server.
struct Stops {
    terminate: Signal,
    interrupt: Signal,
}

impl Stops {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
