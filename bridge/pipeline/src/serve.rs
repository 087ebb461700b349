//! The connector's own HTTP server: the log's tiles for readers, `/metrics` and `/health` for operators.

use crate::metrics::Metrics;
use crate::outside::Clock;
use crate::{Connector, ConnectorError};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::oneshot;

#[derive(Clone)]
struct Shown {
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    checkpoint_ms: u64,
    idle_ms: u64,
}

/// A running server; it ends with [`Server::stop`].
#[derive(Debug)]
pub(crate) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Starts the server on a thread of its own, with a runtime of its own: what it does never delays the path.
pub(crate) fn start(
    listener: TcpListener,
    log: PathBuf,
    metrics: Arc<Metrics>,
    connector: &Connector,
) -> Result<Server, ConnectorError> {
    let failed = |error: std::io::Error| ConnectorError::Http(error.to_string());
    listener.set_nonblocking(true).map_err(failed)?;
    let shown = Shown {
        metrics,
        clock: Arc::clone(&connector.clock),
        checkpoint_ms: connector.intervals.checkpoint_ms,
        idle_ms: connector.intervals.idle_ms,
    };
    let router = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/health", get(health))
        .with_state(shown)
        .merge(bridge_ledger::tile_router(log));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let server = axum::serve(listener, router);
                tokio::select! {
                    served = server => if let Err(error) = served {
                        tracing::error!(%error, "the HTTP server ended");
                    },
                    _ = stopped => {}
                }
            });
        })
        .map_err(failed)?;
    Ok(Server { stop: Some(stop), thread: Some(thread) })
}

impl Server {
    /// Ends the server.
    pub(crate) fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP server panicked");
        }
    }
}

async fn metrics_text(State(shown): State<Shown>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shown.metrics.text()).into_response()
}

async fn health(State(shown): State<Shown>) -> Response {
    let complaints = shown.metrics.complaints(shown.clock.now(), shown.checkpoint_ms, shown.idle_ms);
    let status = if complaints.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({ "healthy": complaints.is_empty(), "complaints": complaints });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
