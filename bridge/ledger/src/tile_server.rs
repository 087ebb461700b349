//! Serves a log's directory over HTTP (C2SP tlog-tiles): the checkpoint, tiles and bundles, and nothing else in it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bridge_tlog::{Bundle, NOTE_BYTES_MAX, Tile};

use crate::disk::read_bounded;

/// A full bundle of the longest entries, the largest thing served: 16.8 MB.
const FILE_BYTES_MAX: u64 = 17 << 20;

/// A tile never changes: one week, the usual limit of caches.
const FOR_EVER: &str = "public, max-age=604800, immutable";

/// A checkpoint changes every second; a cache asks again each time.
const NOT_KEPT: &str = "no-cache";

/// The paths `checkpoint` and `tile/...` of a log's directory. Nest it under any prefix.
pub fn tile_router(dir: PathBuf) -> Router {
    Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/tile/{*place}", get(tile))
        .with_state(Arc::new(dir))
}

async fn checkpoint(State(dir): State<Arc<PathBuf>>) -> Response {
    serve(dir.join("checkpoint"), NOTE_BYTES_MAX as u64, "text/plain; charset=utf-8", NOT_KEPT).await
}

async fn tile(State(dir): State<Arc<PathBuf>>, Path(place): Path<String>) -> Response {
    // Only the one spelling of a tile's name gets through, so no path leads out of the directory.
    let path = format!("tile/{place}");
    if Tile::parse(&path).is_err() && Bundle::parse(&path).is_err() {
        return StatusCode::NOT_FOUND.into_response();
    }
    serve(dir.join(path), FILE_BYTES_MAX, "application/octet-stream", FOR_EVER).await
}

async fn serve(path: PathBuf, bytes_max: u64, content_type: &'static str, keep: &'static str) -> Response {
    match tokio::task::spawn_blocking(move || read_bounded(&path, bytes_max)).await {
        Ok(Ok(content)) => ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, keep)], content).into_response(),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => StatusCode::NOT_FOUND.into_response(),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a file of the log cannot be served");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
