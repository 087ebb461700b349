//! A witness as a process: its paths, `/metrics` and `/health`, until it is told to end or cannot go on.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::witness_server::{Clock, witness_router};
use crate::{RefuseError, Witness};

/// How long requests that are being judged may take to end after a shutdown.
const DRAIN: Duration = Duration::from_secs(4);

/// How often it is looked whether a write has failed.
const LOOK: Duration = Duration::from_millis(100);

/// The statuses that are counted each by itself.
const STATUSES: [u16; 9] = [200, 400, 403, 404, 408, 409, 422, 500, 503];

struct Shown {
    witness: Arc<Witness>,
    /// One for each of [`STATUSES`], and the last for all others.
    answers: [AtomicU64; STATUSES.len() + 1],
}

/// Serves a witness until `shutdown` is ready.
///
/// # Errors
/// WIT024 when its state could not be stored, so that it has to be started again; or the listener failed.
pub async fn run_witness(
    witness: Arc<Witness>,
    clock: Clock,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RefuseError> {
    let shown = Arc::new(Shown { witness: Arc::clone(&witness), answers: Default::default() });
    let router = witness_router(Arc::clone(&witness), clock)
        .layer(from_fn_with_state(Arc::clone(&shown), count))
        .merge(Router::new().route("/metrics", get(metrics)).route("/health", get(health)).with_state(shown));
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async {
        // Its sender gone means the same.
        let _ = closed.await;
    });
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        served = &mut server => return served.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(RefuseError::Disk),
        () = shutdown => {}
        () = broken(&witness) => {}
    }
    drop(close);
    if tokio::time::timeout(DRAIN, &mut server).await.is_err() {
        // Connections that do nothing: what was cosigned is stored, and an unanswered request is asked again.
        server.abort();
    }
    if witness.ended() {
        return Err(RefuseError::Disk(std::io::Error::other("an earlier write failed")));
    }
    Ok(())
}

async fn broken(witness: &Witness) {
    while !witness.ended() {
        tokio::time::sleep(LOOK).await;
    }
}

async fn count(State(shown): State<Arc<Shown>>, request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    let status = answer.status().as_u16();
    let place = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len());
    if let Some(counter) = shown.answers.get(place) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
    answer
}

async fn metrics(State(shown): State<Arc<Shown>>) -> Response {
    let mut text = String::from(
        "# HELP govbridge_witness_answers_total Answers given, by status\n# TYPE govbridge_witness_answers_total counter\n",
    );
    let labels = STATUSES.iter().map(ToString::to_string).chain(["other".to_owned()]);
    // Writing into a String does not fail.
    for (label, counter) in labels.zip(&shown.answers) {
        let value = counter.load(Ordering::Relaxed);
        let _ = writeln!(text, "govbridge_witness_answers_total{{status=\"{label}\"}} {value}");
    }
    text.push_str("# HELP govbridge_witness_cosigned_entries Entries of the newest cosigned checkpoint\n# TYPE govbridge_witness_cosigned_entries gauge\n");
    for (origin, size) in shown.witness.sizes() {
        let _ = writeln!(text, "govbridge_witness_cosigned_entries{{origin=\"{origin}\"}} {size}");
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// Whether it can cosign. Whether logs ask it to is not its own health.
async fn health(State(shown): State<Arc<Shown>>) -> Response {
    let well = !shown.witness.ended();
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(CONTENT_TYPE, "application/json")], format!("{{\"healthy\":{well}}}")).into_response()
}
