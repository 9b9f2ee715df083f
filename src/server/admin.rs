//! What operators ask, at an address of its own that the public does not reach: `/metrics` in the
//! Prometheus text format, `/readyz` and `/livez`.
//!
//! It answers before the service stands, and while it drains, and says what is in the way.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use crate::telemetry;

use super::readiness::{Part, Readiness, Reason};
use super::service::Service;

/// The operator's view of a service.
pub struct Admin {
    readiness: Readiness,
    service: OnceLock<Arc<Service>>,
    metrics: PrometheusHandle,
}

impl Admin {
    /// The view of a service of which nothing stands yet, with the recorder that its metrics go to.
    pub fn starting(metrics: PrometheusHandle) -> Arc<Admin> {
        Arc::new(Admin { readiness: Readiness::starting(), service: OnceLock::new(), metrics })
    }

    /// The view of a service that stands.
    pub fn new(service: Arc<Service>, metrics: PrometheusHandle) -> Arc<Admin> {
        let admin = Admin::starting(metrics);
        admin.stands(service);
        admin
    }

    /// What is in the way of calls.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// The same, with what can go wrong once the service stands.
    fn reasons(&self) -> Vec<Reason> {
        let mut reasons = self.readiness.reasons();
        if let Some(service) = self.service.get() {
            reasons.extend(service.unwritten().map(|why| Reason { part: Part::Store, why }));
            let audit = service.audit.not_ready();
            reasons.extend(audit.map(|why| Reason { part: Part::Audit, why: why.to_string() }));
        }
        reasons
    }

    /// The service stands, with all its parts.
    pub fn stands(&self, service: Arc<Service>) {
        for part in [Part::Identity, Part::Sandbox, Part::Store] {
            self.readiness.has(part);
        }
        // The first one stays: a process has one service.
        let _ = self.service.set(service);
    }

    /// The routes. What histograms were told is seen to from here on, whether anybody asks or not.
    pub fn router(self: Arc<Admin>) -> Router {
        tokio::spawn(telemetry::keep_up(self.metrics.clone()));
        Router::new()
            .route("/metrics", get(metrics))
            .route("/readyz", get(ready))
            .route("/livez", get(alive))
            .with_state(self)
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    if let Some(service) = admin.service.get() {
        telemetry::record_audit(&service.audit_stats());
        telemetry::record_workers(&service.worker_stats());
        telemetry::record_kept_answers(&service.kept_answers());
        telemetry::record_revisions(service.keeps_revisions());
        telemetry::record_memo(&service.memo_stats());
        telemetry::record_tokens(service.verifier.remembered());
    }
    telemetry::record_ready(admin.reasons().is_empty());
    let text = admin.metrics.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let reasons = admin.reasons();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": reasons.is_empty(), "reasons": reasons }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Whoever gets an answer finds the process alive.
async fn alive() -> &'static str {
    "alive\n"
}
