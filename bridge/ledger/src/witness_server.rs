//! A witness over HTTP (C2SP tlog-witness).
//!
//! | request | answer |
//! |---|---|
//! | `POST /add-checkpoint` | 200 with cosignatures; 400, 403, 404, 409, 422 as specified; 500, 503 |
//! | `GET /<hex sha256(origin)>/checkpoint` | 200 with the newest cosigned checkpoint, 404 when there is none |

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bridge_event::UnixMicros;
use bridge_tlog::{ADD_CHECKPOINT_BYTES_MAX, Refusal, SIZE_CONTENT_TYPE, format_latest_size};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::{RefuseError, Witness};

/// Requests that are judged or wait for their turn at once; each has at most 70 KB of body in memory.
const REQUESTS_MAX: usize = 256;

/// How long a request's body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(10);

const TEXT: &str = "text/plain; charset=utf-8";

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> UnixMicros + Send + Sync>;

struct Shared {
    witness: Arc<Witness>,
    clock: Clock,
    places: Semaphore,
}

/// The paths of a witness. Nest it under any prefix.
pub fn witness_router(witness: Arc<Witness>, clock: Clock) -> Router {
    let shared = Shared { witness, clock, places: Semaphore::new(REQUESTS_MAX) };
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin}/checkpoint", get(checkpoint))
        .with_state(Arc::new(shared))
}

async fn add_checkpoint(State(shared): State<Arc<Shared>>, body: Body) -> Response {
    let Ok(_place) = shared.places.try_acquire() else { return refuse(&RefuseError::Busy) };
    let body = match timeout(BODY_WAIT, to_bytes(body, ADD_CHECKPOINT_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            return plain(StatusCode::BAD_REQUEST, "WIT020: the request is too long, or was cut off\n");
        }
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "WIT020: the request did not come to its end\n"),
    };
    let (witness, now) = (Arc::clone(&shared.witness), (shared.clock)());
    // It goes on when the client hangs up: what it stores then is right, and the next request begins there.
    match tokio::task::spawn_blocking(move || witness.add_checkpoint(&body, now)).await {
        Ok(Ok(lines)) => (StatusCode::OK, [(CONTENT_TYPE, TEXT)], lines).into_response(),
        Ok(Err(error)) => refuse(&error),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn checkpoint(State(shared): State<Arc<Shared>>, Path(origin): Path<String>) -> Response {
    let witness = Arc::clone(&shared.witness);
    match tokio::task::spawn_blocking(move || witness.checkpoint(&origin)).await {
        Ok(Some(note)) => ([(CONTENT_TYPE, TEXT), (CACHE_CONTROL, "no-cache")], note).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn refuse(error: &RefuseError) -> Response {
    tracing::info!(code = error.code(), status = error.status(), %error, "not cosigned");
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match error {
        RefuseError::Plain(Refusal::OtherOldSize(size)) => {
            (status, [(CONTENT_TYPE, SIZE_CONTENT_TYPE)], format_latest_size(*size)).into_response()
        }
        error => (status, [(CONTENT_TYPE, TEXT)], format!("{error}\n")).into_response(),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, [(CONTENT_TYPE, TEXT)], text).into_response()
}
