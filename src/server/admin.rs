//! What operators ask, at an address of its own that the public does not reach: `/metrics` in the
//! Prometheus text format, `/readyz` and `/livez`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::telemetry;

use super::service::Service;

/// The operator's view of a running service.
pub struct Admin {
    service: Arc<Service>,
    metrics: PrometheusHandle,
}

impl Admin {
    /// The view of `service`, with the recorder that its metrics go to.
    pub fn new(service: Arc<Service>, metrics: PrometheusHandle) -> Admin {
        Admin { service, metrics }
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/readyz", get(ready))
            .route("/livez", get(live))
            .with_state(Arc::new(self))
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    telemetry::record_audit(&admin.service.audit_stats());
    telemetry::record_workers(&admin.service.worker_stats());
    telemetry::record_kept_answers(&admin.service.kept_answers());
    let text = admin.metrics.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// The service listens only once all its parts stand, so whoever gets an answer finds it ready.
async fn live() -> &'static str {
    "live\n"
}

/// The same, but for what can go wrong later.
async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    match admin.service.audit.not_ready() {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}
