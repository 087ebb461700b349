//! `/metrics` and `/health`.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::run::Shared;

/// Serves until `closed` is ready.
pub(crate) async fn serve(listener: TcpListener, shared: Shared, closed: oneshot::Receiver<()>) {
    let router =
        Router::new().route("/metrics", get(metrics)).route("/health", get(health)).with_state(shared);
    let close = async move {
        let _ = closed.await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(close).await {
        tracing::warn!(%error, "the server for metrics and health ended");
    }
}

async fn metrics(State(shared): State<Shared>) -> String {
    shared.metrics.text()
}

/// 200 only while delivery follows: nothing has halted it, and every stream's newest beacon is fresh.
async fn health(State(shared): State<Shared>) -> (StatusCode, String) {
    let (good, words) = shared.health.answer(shared.clock.now());
    (if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, words)
}
